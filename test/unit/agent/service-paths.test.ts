// What `weir uninstall` withdraws from the node's own gobgpd: addresses of Services, from wherever they came, and nothing of the node's own.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openGobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import { rememberRouting } from '../../../src/agent/boot-routing.ts'
import { parseConfig } from '../../../src/agent/config.ts'
import { rememberNode } from '../../../src/agent/own-node.ts'
import { servicePaths } from '../../../src/agent/service-paths.ts'
import type { Prefix } from '../../../src/model/address.ts'
import { withdrawPaths } from '../../../src/speaker/withdraw.ts'
import { node } from '../routing/sources/rows.ts'
import { Bed, routingOf } from '../speaker/bed.ts'

function configIn(t: Test, routing: string) {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'weir-paths-'))
  t.teardown(() => rmSync(stateDirectory, { recursive: true, force: true }))
  const text = `
nodeName: node1
stateDirectory: ${stateDirectory}
kubernetes: { servers: ["https://127.0.0.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [to-tor1] }
pools: [{ name: file, prefixes: [203.0.113.0/24] }]
routing: { gobgp: "unix:///g.sock", ${routing} }
`
  return { config: parseConfig(text, 'agent.yaml'), stateDirectory }
}

const chosen = (config: Parameters<typeof servicePaths>[0], ...paths: string[]) =>
  paths.filter((path) => servicePaths(config)(path as Prefix))

t.test("single addresses but the node's own", async (t) => {
  const { config, stateDirectory } = configIn(t, 'asn: 65101, loopbacks: [10.255.0.1/32, "fd00:255::1/128"]')
  const paths = ['10.255.0.1/32', 'fd00:255::1/128', '10.244.1.0/24', '203.0.113.7/32']
  const ofCilium = ['198.51.100.7/32', '2001:db8:77::1/128']
  t.same(chosen(config, ...paths, ...ofCilium), ['203.0.113.7/32', ...ofCilium])
  rememberRouting(stateDirectory, routingOf([], { loopbacks: ['10.255.9.9/32' as Prefix] }))
  t.same(chosen(config, '10.255.9.9/32'), [], 'as the agent last had it, by a trial')
})

t.test("of loopbacks by labels the node's are left, and all while nobody knows its labels", async (t) => {
  const { config, stateDirectory } = configIn(
    t,
    'asn: 65101, nodes: [ { nodeSelector: { matchLabels: { rack: a } }, loopbacks: [10.255.0.7/32] } ]',
  )
  t.same(chosen(config, '10.255.0.7/32', '198.51.100.7/32'), ['198.51.100.7/32'])
  rememberNode(stateDirectory, node(1, { labels: { rack: 'a' } }))
  t.same(chosen(config, '10.255.0.7/32', '198.51.100.7/32'), ['198.51.100.7/32'])
})

t.test('from a real gobgpd', async (t) => {
  const bed = new Bed()
  t.teardown(() => bed.close())
  bed.spawn(bed.addNamespace('node'), ['gobgpd', '--api-hosts', bed.target, '--pprof-disable'], 'gobgpd.log')
  const client = openGobgpClient({ target: bed.target })
  t.teardown(() => client.close())
  await client.waitUntilReady(AbortSignal.timeout(10_000))
  await client.startIfIdle({ asn: 65101, routerId: '10.255.0.1' })
  const all = ['10.255.0.1/32', '10.244.1.0/24', '203.0.113.7/32', '198.51.100.7/32']
  await client.applyPaths({ withdraw: [], announce: all.map((prefix) => ({ prefix })) })
  const { config } = configIn(t, 'asn: 65101, loopbacks: [10.255.0.1/32]')
  const withdraw = (isDryRun: boolean) =>
    withdrawPaths({ target: bed.target, host: 'own', chosen: servicePaths(config), isDryRun })
  const left = async () => (await client.listOwnPaths('ipv4')).map(({ prefix }) => prefix).sort()
  t.same([...((await withdraw(true)) ?? [])].sort(), ['198.51.100.7/32', '203.0.113.7/32'])
  t.equal((await left()).length, 4)
  await withdraw(false)
  t.same(await left(), ['10.244.1.0/24', '10.255.0.1/32'])
})
