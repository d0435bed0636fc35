// The `weir` command as a shell sees it: what it prints where, and its exit status.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../../..')
const WEIR = join(ROOT, 'tools/weir.mjs')

const MISTAKES = [
  [['agnet'], 2, /^weir: no such command 'agnet'. Mend: did you mean agent; 'weir --help' tells more.\n$/],
  [['xyz'], 2, /Mend: one of agent, (?:\w+, )*\w+;/],
  [['agent', '--confg', 'x'], 2, /no such option '--confg'. Mend: did you mean --config;/],
  [['agent', '--config'], 2, /'--config' needs a value after it. Mend: 'weir agent --help' tells more/],
  [['agent', '--help=yes'], 2, /'--help' takes no value/],
  [['agent', '--config', '/nonexistent'], 1, /cannot read \/nonexistent: name an existing file/],
  [['speaker', 'boot-config', '-x'], 2, /no such option '-x'. Mend: one of --config, --out, --help;/],
  [['bgp', 'peeers'], 2, /no such action 'peeers'. Mend: did you mean peers\n$/],
  [['bgp', 'router-config', '--dialect', 'eso'], 2, /no such dialect 'eso'. Mend: did you mean eos\n$/],
  [
    ['bgp', 'router-config', '--dialect', 'eos', '--node', 'n'],
    2,
    /--node and --label go with --config FILE\n$/,
  ],
  [['sandbox', 'stat'], 1, /no such action 'stat'. Mend: did you mean status/],
  [['sandbox', 'up', '--node', '2'], 2, /no such option '--node'. Mend: did you mean --nodes or --name or/],
] as const

function weir(args: readonly string[]) {
  // Without tap's own loader, which doubles the time.
  return spawnSync(process.execPath, [WEIR, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
}

t.test('a mistake is one line with its mend, and never a stack', async (t) => {
  for (const [args, status, message] of MISTAKES) {
    const { status: seen, stderr, stdout } = weir(args)
    t.equal(seen, status, args.join(' '))
    t.match(stderr, message)
    t.equal(stderr.trimEnd().split('\n').length, 1, stderr)
    t.equal(stdout, '')
  }
})

t.test('help goes to standard output with status 0; a bare command is told how to go on', async (t) => {
  for (const args of [
    ['--help'],
    ['-h'],
    ['agent', '--help'],
    ['speaker', '-h'],
    ['sandbox', 'up', '--help'],
  ]) {
    const { status, stdout, stderr } = weir(args)
    t.equal(status, 0)
    t.match(stdout, /^Usage: weir/)
    t.equal(stderr, '')
  }
  t.equal(weir([]).status, 2)
  t.equal(weir(['agent']).status, 2)
})

t.test('every help fits a page', async (t) => {
  const nouns = [['status'], ['drain'], ['undrain'], ['uninstall'], ['bgp'], ['flow'], ['service'], ['agent']]
  const script = `import { main } from ${JSON.stringify(join(ROOT, 'src/cli/main.ts'))}
    for (const args of ${JSON.stringify([...nouns, ['speaker'], ['sandbox'], []])}) await main([...args, '--help'])`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  t.equal(stdout.match(/^Usage: /gm)?.length, nouns.length + 3)
  t.strictSame(
    stdout.split('\n').filter((line) => line.length > 120),
    [],
  )
})

t.test('the version', async (t) => {
  t.match(weir(['--version']).stdout, /^weir \d+\.\d+\.\d+ on Node v\d+/)
})

/** The distribution's Node, if it is older than what src/ needs. */
function olderNode(): string | undefined {
  const path = '/usr/bin/node'
  if (!existsSync(path)) return undefined
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  return Number(/^v(\d+)/.exec(stdout)?.[1]) < 24 ? path : undefined
}

const node = olderNode()
t.test('an older Node hands over', { skip: node ? false : 'no older Node here' }, async (t) => {
  if (!node) return
  const version = spawnSync(node, [WEIR, '--version'], { encoding: 'utf8' })
  t.match(version.stdout, new RegExp(`on Node ${process.version}`))
  t.equal(spawnSync(node, [WEIR, 'agnet']).status, 2, 'with the exit status')
  const directory = mkdtempSync(join(tmpdir(), 'weir-cli-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const sleeper = startSleeper(node, directory)
  await once(sleeper, 'message')
  sleeper.kill('SIGTERM')
  t.same(await once(sleeper, 'exit'), [7, null], 'and with the signals: the program chose its end')
})

/** A checkout of two files, whose command ends with status 7 on SIGTERM. */
function startSleeper(node: string, directory: string): ChildProcess {
  const script = spawnSync('sh', [
    '-c',
    `mkdir -p "$1/tools" "$1/src/cli" "$1/node_modules/.bin" && cp "$2" "$1/tools/" && ln -s "$3" "$1/node_modules/.bin/node"`,
    'sh',
    directory,
    WEIR,
    process.execPath,
  ])
  if (script.status !== 0) throw new Error(String(script.stderr))
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
  writeFileSync(
    join(directory, 'src/cli/main.ts'),
    `export const main = () => new Promise((resolve) => {
      process.on('SIGTERM', () => { clearInterval(timer); resolve(7) })
      const timer = setInterval(() => {}, 1000)
      console.log('ready')
    })`,
  )
  const child = spawn(node, [join(directory, 'tools/weir.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout?.once('data', () => child.emit('message'))
  return child
}
