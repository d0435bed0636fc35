// Moving pinned state to another layout or capacity: what is in force is found by what attached programs use, rows arrive, flows
// land where the programs look for them, and being killed at any step loses nothing.

import { readdirSync, renameSync, rmSync } from 'node:fs'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { DEFAULT_SETTINGS, loadDatapath, nodeConfig } from '../../src/datapath/load.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { conversion } from '../../src/datapath/upgrade/conversions.ts'
import { copyFlows, type FlowTable } from '../../src/datapath/upgrade/flow-copy.ts'
import { placeFlows } from '../../src/datapath/upgrade/flow-place.ts'
import { attachTcx, BpfMap, makePinDirectory, supportsTcx } from '../../src/sys/libbpf-ts/index.ts'
import { enterOwnNetworkNamespace } from '../unit/sys/libbpf-ts/fixture.ts'
import { TCP, UDP } from './packet.ts'
import { World } from './world.ts'

enterOwnNetworkNamespace()
const FLOW_WORDS = abi.FLOW_BYTES / 4
const bpffs = `/sys/fs/bpf/weir-test-upgrade-${process.pid}`
const LOOPBACK = 1
t.teardown(() => rmSync(bpffs, { recursive: true, force: true }))

const load = (directory = bpffs) =>
  loadDatapath({
    bpffs: directory,
    objects: undefined,
    redirectsOnly: false,
    settings: DEFAULT_SETTINGS,
    tunnelAddresses: { ipv4: undefined, ipv6: undefined },
  })

/** What is pinned of a map, without the directory. */
const pinsOf = (name: string, directory = bpffs) =>
  readdirSync(`${directory}/maps`)
    .filter((file) => file.replace(/_v\d.*/, '') === name)
    .sort()

t.test('the place of a flow is computed as the programs compute it', async (t) => {
  const world = new World('upgrade-place')
  t.teardown(() => world.close())
  const { flowSecret } = abi.decodeNodeConfig(world.config)
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const protocol of [TCP, UDP])
      for (const port of [80, 81])
        world.datapath.uplink.xdp.testRun({ data: world.request(family, protocol, port).bytes() })
  const words = new Uint32Array(world.map('flows').mmap())
  const setOf = placeFlows(flowSecret, abi.AbiConstant.FLOW_SETS)
  let seen = 0
  for (let entry = 0; entry * FLOW_WORDS < words.length; entry += 1) {
    if (words[entry * FLOW_WORDS] === 0) continue
    seen += 1
    const key = words.subarray(entry * FLOW_WORDS + 2, entry * FLOW_WORDS + 6)
    t.equal(setOf(key), Math.floor(entry / abi.AbiConstant.FLOW_WAYS), `entry ${entry}`)
  }
  t.ok(seen >= 12, `${seen} entries: forward ones, and replies where the backend is here`)
})

t.test(
  'capacities of the configuration are those of the maps, and flows are looked for in all of theirs',
  async (t) => {
    const directory = `${bpffs}-sized`
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const capacities = {
      frontends: 4096,
      slots: 8192,
      backends: 2048,
      flows: 1024,
      affinity: 512,
      sourceRanges: 128,
      fragments: 64,
    }
    const options = {
      bpffs: directory,
      objects: undefined,
      redirectsOnly: false,
      settings: { ...DEFAULT_SETTINGS, capacities },
      tunnelAddresses: { ipv4: undefined, ipv6: undefined },
    }
    const sized = loadDatapath(options)
    t.teardown(() => sized.close())
    const entries = (name: Parameters<typeof sized.map>[0]) => sized.map(name).info.maxEntries
    t.strictSame(
      [entries('frontends'), entries('frontend_addresses'), entries('backends'), entries('backend_ids')],
      [4096, 4096, 2048, 2048],
    )
    t.strictSame([entries('slots'), entries('flows'), entries('flow_details')], [4096, 256, 256])
    t.strictSame([entries('affinity'), entries('source_ranges'), entries('fragments')], [512, 128, 64])
    t.equal(abi.decodeNodeConfig(nodeConfig(options)).flowSetMask, 255)
  },
)

/** Its number in the first two layouts. */
const EARLIER_ESTABLISHED = 4

/** A table in plain memory. */
function memoryTable(sets: number): FlowTable & { words: Uint32Array } {
  const flows = new ArrayBuffer(sets * abi.FLOW_SET_BYTES)
  const details = new ArrayBuffer(sets * abi.FLOW_DETAIL_SET_BYTES)
  return { flows, details, sets, words: new Uint32Array(flows) }
}

t.test('flows move to a table of another size, and none that is there is touched', async (t) => {
  const secret = [0x1234_5678_9abc_def0n, 0x0fed_cba9_8765_4321n]
  const small = memoryTable(64)
  const keys = Array.from({ length: 100 }, (_, flow) => [0x0a00_0001, 0xcb00_7101, 40_000 + flow, 0x0604])
  for (const [flow, key] of keys.entries()) {
    const set = placeFlows(secret, small.sets)(Uint32Array.from(key))
    for (let way = 0; way < abi.AbiConstant.FLOW_WAYS; way += 1) {
      const at = (set * abi.AbiConstant.FLOW_WAYS + way) * FLOW_WORDS
      if (small.words[at] !== 0) continue
      small.words.set(
        [
          ((flow % 2 === 0 ? abi.FlowState.FLOW_ESTABLISHED : EARLIER_ESTABLISHED) << 20) | 77,
          1,
          ...key,
          flow + 1,
          1,
        ],
        at,
      )
      break
    }
  }
  const held = small.words.filter((word, at) => at % FLOW_WORDS === 0 && word !== 0).length
  for (const sets of [16, 64, 1024]) {
    const target = memoryTable(sets)
    const { copied, lost } = copyFlows(small, target, secret)
    t.equal(copied + lost, held, `${sets} sets: every flow is accounted for`)
    t.ok(sets < small.sets || lost === 0)
    for (let entry = 0; entry < sets * abi.AbiConstant.FLOW_WAYS; entry += 1) {
      const at = entry * FLOW_WORDS
      if (target.words[at] === 0) continue
      const key = target.words.subarray(at + 2, at + 6)
      t.equal(placeFlows(secret, sets)(key), Math.floor(entry / abi.AbiConstant.FLOW_WAYS))
      t.equal(
        (target.words[at] ?? 0) & 0xff_ffff,
        (abi.FlowState.FLOW_ESTABLISHED << 20) | 77,
        'state and time',
      )
    }
    const again = copyFlows(small, target, secret)
    t.equal(again.copied, 0, 'a second copy finds them there')
  }
})

t.test('a frontend of the first layout says the same in the present one', async (t) => {
  const before = Buffer.alloc(48)
  for (const [at, value] of [7, 700, 1 | 2 | 32, 60, 100, 1021, 0, 0, 2000, 8, 0, 0].entries())
    before.writeUInt32LE(value, at * 4)
  const after = conversion('frontends', 1, 2)?.(before)
  t.match(after && abi.decodeFrontend(after), {
    frontendId: 7,
    serviceId: 700,
    flags: abi.FrontendFlags.FRONTEND_EXTERNAL | abi.FrontendFlags.FRONTEND_ANY_ENDPOINT,
    affinityTicks: 60,
    portId: 7,
    cluster: { base: 100, size: 1021 },
    local: { base: 2000, size: 8 },
  })
  t.equal(conversion('frontends', 2, 1), undefined, 'no way back: the earlier process keeps its own')
})

t.test('rows of policy that name classes get cells that name them', async (t) => {
  const directory = `${bpffs}-policy`
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const row = { set: 3, direction: 'ingress', identity: 300 } as const
  const before = load(directory)
  const written = policyTables(before.map)
  written.peers.set(row, 7)
  written.generations.set(9, true)
  before.close()
  for (const [name] of Object.entries(abi.MapVersion).filter(([, version]) => version === 2)) {
    const map = name.replace('MAP_VERSION_', '').toLowerCase()
    if (!/^(policy|identit)/.test(map)) continue
    const [pin = ''] = pinsOf(map, directory)
    renameSync(`${directory}/maps/${pin}`, `${directory}/maps/${pin.replace('_v2_', '_v1_')}`)
  }
  const after = load(directory)
  t.teardown(() => after.close())
  t.match(new Set(after.moved.map(({ map }) => map)), new Set(['policy_peers', 'policy_sets', 'identities']))
  const { peers, cells, generations } = policyTables(after.map)
  t.strictSame([...peers.entries()], [[row, 7]])
  t.strictSame([...cells.entries()], [[7, 7]])
  t.ok(generations.isCurrent(9), 'verdicts of before hold until the next agent ends them')
})

t.test('a next hop of before BFD: the same, and nobody silent', async (t) => {
  const members = Array.from({ length: 4 }, (_, index) => ({
    ifindex: index + 1,
    destination: Buffer.alloc(6, index),
    source: Buffer.alloc(6, 9),
  }))
  const row = {
    kind: abi.NexthopKind.NEXTHOP_KIND_GROUP,
    flags: 2,
    memberCount: 3,
    membersDown: 0,
    via: 77,
    mtu: 9000,
    remote: Buffer.alloc(16, 5),
    members,
  }
  const now = abi.encodeNexthop(row)
  const before = Buffer.concat([now.subarray(0, 4), now.subarray(8)])
  t.equal(conversion('nexthops', 1, 2)?.(before)?.toString('hex'), now.toString('hex'))
})

t.test(
  'CT-004 an upgrade that is killed at any step is begun again or gone on with',
  { skip: !supportsTcx() },
  async (t) => {
    const nodeRow = (number: number) =>
      [Buffer.alloc(16, number), abi.encodeNode({ nodeId: number, nexthopId: 17 })] as const
    const nodesOf = (map: BpfMap) =>
      [...map.entries()].map(({ value }) => abi.decodeNode(value).nodeId).sort()
    const flowEntry = (map: BpfMap, set: number) =>
      new Uint32Array(map.mmap()).subarray((set * abi.FLOW_SET_BYTES) / 4)

    // What an earlier process left, in force: the names say another capacity.
    const first = load()
    first.map('nodes').update(...nodeRow(1))
    flowEntry(first.map('flows'), 5).set([abi.FlowState.FLOW_ESTABLISHED << 20, 1, 1, 2, 3, 4, 9, 1])
    const link = attachTcx(first.podTc, LOOPBACK, 'ingress')
    makePinDirectory(`${bpffs}/links`)
    link.pin(`${bpffs}/links/pod_${LOOPBACK}`)
    first.close()
    const ours = { nodes: pinsOf('nodes')[0] ?? '', flows: pinsOf('flows')[0] ?? '' }
    const earlier = { nodes: 'nodes_v1_99', flows: 'flows_v1_77' }
    for (const name of ['nodes', 'flows'] as const)
      renameSync(`${bpffs}/maps/${ours[name]}`, `${bpffs}/maps/${earlier[name]}`)

    const aborted = load()
    t.strictSame(nodesOf(aborted.map('nodes')), [1], 'rows arrived')
    t.equal(flowEntry(aborted.map('flows'), 5)[6], 9, 'and flows')
    t.strictSame(aborted.moved.map(({ map }) => map).sort(), ['flows', 'nodes'])
    aborted.close()
    t.strictSame(
      pinsOf('nodes'),
      [ours.nodes, earlier.nodes].sort(),
      'killed before the switch: both are there',
    )

    const inForce = BpfMap.openPinned(`${bpffs}/maps/${earlier.nodes}`)
    inForce.update(...nodeRow(2))
    inForce.close()
    const second = load()
    t.strictSame(nodesOf(second.map('nodes')), [1, 2], 'begun again from what is in force')
    t.ok(link.update(second.podTc))
    second.map('nodes').update(...nodeRow(3))
    second.close()

    const late = BpfMap.openPinned(`${bpffs}/maps/${earlier.flows}`)
    flowEntry(late, 6).set([abi.FlowState.FLOW_ESTABLISHED << 20, 1, 5, 6, 7, 8, 10, 1])
    late.close()
    const third = load()
    t.strictSame(nodesOf(third.map('nodes')), [1, 2, 3], 'killed after the switch: ours is in force')
    t.strictSame(third.moved, [], 'nothing is copied over it')
    third.finishMigration()
    t.equal(flowEntry(third.map('flows'), 6)[6], 10, 'what came between copy and switch was brought over')
    t.strictSame(pinsOf('nodes'), [ours.nodes], 'the earlier maps are gone')
    t.strictSame(pinsOf('flows'), [ours.flows])
    link.detach()
    link.close()
    third.close()
  },
)
