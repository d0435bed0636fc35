// Imports point one way. This table is the law; the test reads every import of src/ and bgp/ and holds it against the table.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '../..')

const PLANNERS = ['services', 'routing', 'policy']
const BELOW_PLANNERS = ['model', 'tables']

/** Folder → folders it may import from, besides itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'sys/libc': [],
  'sys/libbpf-ts': ['sys/libc'],
  'sys/node-netlink': ['sys/libc'],
  'bgp/proto': [],
  'bgp/client': ['bgp/proto'],
  'bgp/dialects': [],
  model: [],
  tables: ['model'],
  kube: BELOW_PLANNERS,
  services: BELOW_PLANNERS,
  routing: BELOW_PLANNERS,
  policy: BELOW_PLANNERS,
  reconcile: BELOW_PLANNERS,
  datapath: [
    ...BELOW_PLANNERS,
    ...PLANNERS,
    'kube',
    'reconcile',
    'sys/libc',
    'sys/libbpf-ts',
    'sys/node-netlink',
  ],
  speaker: [...BELOW_PLANNERS, ...PLANNERS, 'kube', 'reconcile', 'bgp/client', 'sys/node-netlink'],
  agent: [
    ...BELOW_PLANNERS,
    ...PLANNERS,
    'kube',
    'reconcile',
    'datapath',
    'speaker',
    'sys/libc',
    'sys/libbpf-ts',
    'sys/node-netlink',
  ],
  // The sandbox stands beside the agent, as the cluster around it: it starts agents and never reaches into them.
  sandbox: ['model', 'kube', 'speaker', 'bgp/dialects', 'sys/libc', 'sys/node-netlink', 'sys/libbpf-ts'],
  // Each command's file loads the part it runs.
  cli: ['model', 'policy', 'routing', 'agent', 'sandbox', 'speaker', 'bgp/dialects'],
}

function listSources(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
}

/** The row of ALLOWED a file belongs to; undefined for files that no row names. */
function folderOf(path: string): string | undefined {
  const inside = relative(root, path).replace(/^src\//, '')
  return Object.keys(ALLOWED)
    .filter((folder) => inside.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0]
}

function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) =>
    resolve(dirname(path), match[1] ?? ''),
  )
}

t.test('every source belongs to a folder of the table', async (t) => {
  const strays = [...listSources(join(root, 'src')), ...listSources(join(root, 'bgp'))].filter(
    (path) => !folderOf(path),
  )
  t.strictSame(
    strays.map((path) => relative(root, path)),
    [],
  )
})

t.test('imports point one way', async (t) => {
  const wrong: string[] = []
  for (const path of [...listSources(join(root, 'src')), ...listSources(join(root, 'bgp'))]) {
    const from = folderOf(path)
    for (const target of importsOf(path)) {
      const to = folderOf(target)
      if (from === undefined || to === undefined || from === to || ALLOWED[from]?.includes(to)) continue
      wrong.push(`${relative(root, path)} imports ${relative(root, target)}: ${from} may not know ${to}`)
    }
  }
  t.strictSame(wrong, [])
})
