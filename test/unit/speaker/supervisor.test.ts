// The supervisor with a real gobgpd: restarts, both ways of stopping, and that nothing is ever left behind. And the command that
// writes the boot file it starts from.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openGobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import { Bed, childOf, isAlive, until } from './bed.ts'

const SUPERVISOR = join(import.meta.dirname, '../../../src/speaker/gobgpd-supervisor.sh')
const WEIR = join(import.meta.dirname, '../../../tools/weir.mjs')

t.test('gobgpd under its supervisor', async (t) => {
  const bed = new Bed()
  t.teardown(() => bed.close())
  const node = bed.addNamespace('supervised')
  const start = async () => {
    const supervisor = bed.startSupervisor(node)
    const client = openGobgpClient({ target: bed.target })
    const daemon = await client.waitUntilReady(AbortSignal.timeout(10_000))
    client.close()
    const pid = childOf(supervisor.pid)
    if (pid === undefined) throw new Error('the supervisor has no child')
    return { supervisor, pid, daemon }
  }
  const ended = (supervisor: { exitCode: number | null }) =>
    until('it ended', () => supervisor.exitCode !== null)

  await t.test(
    'starts it from the boot file, and again when it is killed, over its stale socket',
    async (t) => {
      const { supervisor, pid, daemon } = await start()
      t.equal(daemon.asn, 65101)
      process.kill(pid, 'SIGKILL')
      await until('a new gobgpd', () => ![undefined, pid].includes(childOf(supervisor.pid)))
      const client = openGobgpClient({ target: bed.target })
      t.equal((await client.waitUntilReady(AbortSignal.timeout(5_000))).asn, 65101)
      client.close()
      const last = childOf(supervisor.pid) ?? 0
      process.kill(supervisor.pid ?? 0, 'SIGKILL')
      await until('gobgpd died with its supervisor', () => !isAlive(last))
    },
  )

  await t.test('an empty boot file: gobgpd starts without BGP, and goes with its supervisor', async (t) => {
    const file = bed.writeBootFile()
    const full = readFileSync(file, 'utf8')
    writeFileSync(file, '')
    const args = ['gobgpd', '--api-hosts', bed.target, '--pprof-disable', '-t', 'toml', '-f', file]
    const supervisor = bed.spawn(node, [SUPERVISOR, bed.drainMarker, ...args], 'empty.log')
    const client = openGobgpClient({ target: bed.target })
    t.equal((await client.waitUntilReady(AbortSignal.timeout(10_000))).asn, 0)
    // The file is read again at each start.
    writeFileSync(file, full)
    process.kill(childOf(supervisor.pid) ?? 0, 'SIGKILL')
    await until('BGP', async () => (await client.probe().catch(() => undefined))?.asn === 65101)
    client.close()
    supervisor.kill('SIGTERM')
    await ended(supervisor)
  })

  await t.test('SIGTERM kills gobgpd without a goodbye', async (t) => {
    const { supervisor, pid } = await start()
    supervisor.kill('SIGTERM')
    await ended(supervisor)
    t.equal(supervisor.exitCode, 0)
    t.notOk(isAlive(pid))
    t.notMatch(bed.read('gobgpd.log'), 'stopping gobgpd server')
  })

  await t.test('SIGTERM on a draining node lets gobgpd withdraw', async (t) => {
    const { supervisor, pid } = await start()
    writeFileSync(bed.drainMarker, '')
    supervisor.kill('SIGTERM')
    await ended(supervisor)
    t.notOk(isAlive(pid))
    t.match(bed.read('gobgpd.log'), 'stopping gobgpd server')
  })
})

t.test('weir speaker boot-config', async (t) => {
  const bed = new Bed()
  t.teardown(() => bed.close())
  const config = join(bed.directory, 'agent.yaml')
  const agent = (routing: string) => `nodeName: node1
stateDirectory: /run/weir
kubernetes: { servers: ["https://127.0.0.1:1"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [to-tor1] }
routing: { gobgp: "unix:///run/weir/gobgpd.sock", asn: 65101, routerId: 10.255.0.1, ${routing} }
pools: [ { name: default, prefixes: [203.0.113.0/24] } ]
`
  writeFileSync(config, agent('loopbacks: [10.255.0.1/32], podCidrs: ["fd00:244:1::/64"]'))
  const out = join(bed.directory, 'out.toml')
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [WEIR, 'speaker', 'boot-config', ...args], { encoding: 'utf8' })

  t.equal(run('--config', config, '--out', out).status, 0)
  t.match(execFileSync('gobgpd', ['-d', '-t', 'toml', '-f', out], { encoding: 'utf8' }), 'Finished reading')
  const text = run('--config', config).stdout
  for (const line of [
    'default-import-policy = "reject-route"',
    'default-export-policy = "reject-route"',
    'port = -1',
  ])
    t.ok(text.includes(line), line)
  t.ok(/"203\.0\.113\.0\/24"\s+masklength-range = "32\.\.32"/.test(text))
  t.ok(/"fd00:244:1::\/64"\s+masklength-range = "64\.\.64"/.test(text))

  writeFileSync(config, agent('loopbacks: [10.255.0.1/32]').replace('asn: 65101, ', ''))
  t.equal(run('--config', config, '--out', out).status, 0)
  t.equal(readFileSync(out, 'utf8'), '', 'no AS number yet')

  writeFileSync(config, agent('podCidrs: ["0.0.0.0/0"]'))
  const refused = run('--config', config, '--out', join(bed.directory, 'never.toml'))
  t.equal(refused.status, 1)
  t.match(refused.stderr, /would allow every address: name /)
  t.notOk(existsSync(join(bed.directory, 'never.toml')))
  t.equal(run().status, 2, 'without --config: usage')
})
