// The configuration file while the agent runs: what is taken, what is refused and changes nothing, what waits for a restart.

import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { AgentConfig } from '../../../src/agent/config.ts'
import { ConfigFile, type ConfigRefusal, loadOrLastGood } from '../../../src/agent/config-file.ts'
import { until } from '../kube/fake-server.ts'

function textOf(directory: string, routing: string, more = ''): string {
  return `
nodeName: node1
stateDirectory: ${directory}/state
kubernetes: { servers: ["https://127.0.0.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [to-tor1] }
routing: { gobgp: "unix:///g.sock", ${routing} }
${more}
`
}

function bed(t: { teardown: (run: () => void) => void }) {
  const directory = mkdtempSync(join(tmpdir(), 'weir-config-'))
  mkdirSync(join(directory, 'state'))
  const file = join(directory, 'agent.yaml')
  writeFileSync(file, textOf(directory, 'asn: 65101'))
  const taken: AgentConfig[] = []
  const refused: ConfigRefusal[] = []
  const waiting: (readonly string[])[] = []
  const open = () =>
    new ConfigFile({
      file,
      loaded: loadOrLastGood(file),
      onTaken: (config) => taken.push(config),
      onRefused: (refusal) => refused.push(refusal),
      onWaiting: (keys) => waiting.push(keys),
    })
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return { directory, file, taken, refused, waiting, open }
}

t.test('a change of the file is taken; a refused one changes nothing', async (t) => {
  const { directory, file, taken, refused, open } = bed(t)
  const config = open()
  t.teardown(() => config.close())
  writeFileSync(file, textOf(directory, 'asn: 65102'))
  await until('the new number', () => taken.length === 1)
  t.equal(config.current.routing.asn, 65_102)
  writeFileSync(file, textOf(directory, 'asn: 65103, pers: []'))
  await until('a refusal', () => refused.length === 1)
  t.match(refused[0]?.message, /routing: unknown key 'pers' \(did you mean 'peers'\?\)/)
  t.equal(config.current.routing.asn, 65_102)
  t.match(config.status, { refused: { message: /pers/ }, waitForRestart: [] })
  writeFileSync(file, textOf(directory, 'asn: 65102'))
  await until('the good one again', () => config.status.refused === undefined)
  t.equal(taken.length, 1, 'it is what is in force')
})

t.test('where no copy can be kept, the agent starts and follows the file all the same', async (t) => {
  const { directory, file, taken, open } = bed(t)
  rmSync(join(directory, 'state'), { recursive: true })
  const config = open()
  t.teardown(() => config.close())
  writeFileSync(file, textOf(directory, 'asn: 65102'))
  await until('the new number', () => taken.length === 1)
  t.equal(config.current.routing.asn, 65_102)
})

t.test('what cannot be taken live is named, and the rest is taken', async (t) => {
  const { directory, file, taken, waiting, open } = bed(t)
  const config = open()
  t.teardown(() => config.close())
  const text = textOf(directory, 'asn: 65102', 'logLevel: debug').replace('g.sock', 'h.sock')
  writeFileSync(file, text)
  await until('the new number', () => taken.length === 1)
  t.strictSame(waiting, [['logLevel', 'routing.gobgp']])
  t.strictSame(config.status.waitForRestart, ['logLevel', 'routing.gobgp'])
  t.match(config.current, { logLevel: 'info', routing: { asn: 65_102 } })
})

t.test("a ConfigMap's swapped link is a change", async (t) => {
  const { directory, file, taken } = bed(t)
  const volume = join(directory, 'volume')
  const version = (name: string, asn: number) => {
    mkdirSync(join(volume, name), { recursive: true })
    writeFileSync(join(volume, name, 'agent.yaml'), textOf(directory, `asn: ${asn}`))
  }
  version('..1', 65_101)
  symlinkSync('..1', join(volume, '..data'))
  symlinkSync('..data/agent.yaml', join(volume, 'agent.yaml'))
  rmSync(file)
  const mounted = join(volume, 'agent.yaml')
  const config = new ConfigFile({
    file: mounted,
    loaded: loadOrLastGood(mounted),
    onTaken: (one) => taken.push(one),
    onRefused: () => {},
    onWaiting: () => {},
  })
  t.teardown(() => config.close())
  version('..2', 65_102)
  symlinkSync('..2', join(volume, '..data_tmp'))
  renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
  await until('the new number', () => taken[0]?.routing.asn === 65_102)
})

t.test('the last good configuration outlives the agent', async (t) => {
  const { directory, file, open } = bed(t)
  open().close()
  t.match(readFileSync(join(directory, 'state', 'agent.last-good.yaml'), 'utf8'), /65101/)
  writeFileSync(file, textOf(directory, 'asn: 0'))
  const config = open()
  t.teardown(() => config.close())
  t.equal(config.current.routing.asn, 65_101)
  t.match(config.status.refused?.message, /routing\.asn/)
  writeFileSync(file, textOf(directory, 'asn: 65102'))
  await until('the mended file', () => config.current.routing.asn === 65_102)
  t.equal(config.status.refused, undefined)
})

t.test('without any good one the agent does not start', async (t) => {
  const { directory, file } = bed(t)
  writeFileSync(file, textOf(directory, 'asn: 0'))
  t.throws(() => loadOrLastGood(file), { message: /routing\.asn/ })
  t.throws(() => loadOrLastGood(join(directory, 'none.yaml')), { code: 'UNREADABLE' })
})

t.test('a file that goes away is refused, and nothing changes', async (t) => {
  const { file, refused, open } = bed(t)
  const config = open()
  t.teardown(() => config.close())
  rmSync(file)
  await until('a refusal', () => refused.length === 1)
  t.match(refused[0]?.message, /cannot read/)
  t.equal(config.current.routing.asn, 65_101)
})
