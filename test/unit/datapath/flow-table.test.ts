// The flow table's reader and sweep, on memory laid out as the kernel lays it out.

import t from 'tap'
import * as abi from '../../../src/datapath/abi.gen.ts'
import { FlowTable, idleLimitTicks } from '../../../src/datapath/flow-table.ts'
import { address, addressToBytes } from '../../../src/model/address.ts'

const SETS = 8
const NOW = 500_000
const { FLOW_STATE_SHIFT, FLOW_VERSION_SHIFT, FLOW_WAYS } = abi.AbiConstant
const { FLOW_BUSY, FLOW_HALF_OPEN, FLOW_HALF_OPEN_CLOSED } = abi.FlowState
const { FLOW_ESTABLISHED, FLOW_CLIENT_CLOSED, FLOW_CLOSING } = abi.FlowState
const { FLOW_TO_LOCAL, FLOW_TO_REMOTE, FLOW_REPLY } = abi.FlowKind
const UDP = abi.FlowFlags.FLOW_IS_UDP

interface Written {
  readonly state: number
  readonly idle: number
  readonly kind?: number
  readonly flags?: number
  readonly mark?: number
}

function table(written: readonly Written[]) {
  const flows = new ArrayBuffer(SETS * FLOW_WAYS * abi.FLOW_BYTES)
  const details = new ArrayBuffer(SETS * FLOW_WAYS * abi.FLOW_DETAIL_BYTES)
  const words = new BigUint64Array(flows)
  for (const [entry, { state, idle, kind = FLOW_TO_LOCAL, flags = 0, mark = 0 }] of written.entries()) {
    const tick = (NOW - idle) & 0xfffff
    const word =
      (7n << BigInt(FLOW_VERSION_SHIFT)) | (BigInt(state) << BigInt(FLOW_STATE_SHIFT)) | BigInt(tick)
    const row = { word, key: [1, 2, 3, entry], index: 40 + entry, kind, flags, snatPort: mark }
    abi.encodeFlow(row, Buffer.from(flows), entry * abi.FLOW_BYTES)
    const client = addressToBytes(address('198.51.100.7'))
    const detail = { client, clientPort: 40_000 + entry, protocol: 6, ifindexHigh: 0, frontendId: 9 }
    abi.encodeFlowDetail(detail, Buffer.from(details), entry * abi.FLOW_DETAIL_BYTES)
  }
  const flowTable = new FlowTable({ flows, details, sets: SETS, backends: 128, frontends: 128 }, () => NOW)
  return { flowTable, words: () => [0, 1, 2, 3].map((entry) => words[entry * 4] ?? 0n) }
}

const LIMITS = [
  ['half-open, or a handshake and no word since', FLOW_HALF_OPEN, FLOW_TO_LOCAL, 0, 7440],
  ['half-open and closed', FLOW_HALF_OPEN_CLOSED, FLOW_TO_LOCAL, 0, 60],
  ['unanswered UDP', FLOW_HALF_OPEN, FLOW_TO_LOCAL, UDP, 60],
  ['closing', FLOW_CLOSING, FLOW_TO_LOCAL, 0, 120],
  ['half-closed', FLOW_CLIENT_CLOSED, FLOW_TO_LOCAL, 0, 3600],
  ['established TCP', FLOW_ESTABLISHED, FLOW_TO_LOCAL, 0, 86_400],
  ['established TCP on an entry node', FLOW_ESTABLISHED, FLOW_TO_REMOTE, 0, 8000],
  ['established UDP', FLOW_ESTABLISHED, FLOW_TO_LOCAL, UDP, 300],
] as const

t.test('CT-006 a flow is freed after the idle time of its state, and not before', async (t) => {
  for (const [name, state, kind, flags, limit] of LIMITS) {
    t.equal(idleLimitTicks(state, kind, flags), limit, name)
    const { flowTable, words } = table([
      { state, kind, flags, idle: limit },
      { state, kind, flags, idle: limit + 1 },
    ])
    t.equal(flowTable.sweep(SETS * FLOW_WAYS), 1, name)
    const [kept = 0n, freed = 0n] = words()
    t.equal(kept >> 24n, 7n, 'the younger one is as it was')
    t.equal(freed, 8n << 24n, 'the freed one has the next version and no state')
  }
})

t.test(
  'CT-001 UDP flows to a backend that does not serve them are freed, TCP flows and replies are not',
  async (t) => {
    const { flowTable, words } = table([
      { state: FLOW_ESTABLISHED, idle: 0, flags: UDP },
      { state: FLOW_ESTABLISHED, idle: 0, flags: UDP },
      { state: FLOW_ESTABLISHED, idle: 0 },
      { state: FLOW_ESTABLISHED, idle: 0, flags: UDP, kind: FLOW_REPLY },
    ])
    const asked: string[] = []
    flowTable.endUnserved((frontendId, backendId) => {
      asked.push(`${frontendId} ${backendId}`)
      return backendId !== 41
    })
    t.equal(flowTable.sweep(SETS * FLOW_WAYS), 1)
    t.same(asked, ['9 40', '9 41'])
    t.same(
      words().map((word) => word >> 24n),
      [7n, 8n, 7n, 7n],
    )
  },
)

t.test('CT-004 a sweep tells which numbers flows carry, and before the first it says all', async (t) => {
  const { flowTable, words } = table([
    { state: FLOW_ESTABLISHED, idle: 0 },
    { state: FLOW_ESTABLISHED, idle: 0, kind: FLOW_REPLY },
    { state: FLOW_ESTABLISHED, idle: 100_000 },
  ])
  t.ok(flowTable.namesBackend(99))
  flowTable.sweep(SETS * FLOW_WAYS)
  t.same(
    [40, 41, 42].map((id) => flowTable.namesBackend(id)),
    [true, false, false],
  )
  t.same(
    [40, 41].map((id) => flowTable.namesFrontend(id)),
    [false, true],
  )
  t.equal(words().length, 4)
})

t.test('what is being written is left alone, whatever its time says', async (t) => {
  const { flowTable, words } = table([{ state: FLOW_BUSY, idle: 100_000 }])
  const [before] = words()
  t.equal(flowTable.sweep(SETS * FLOW_WAYS), 0)
  t.equal(words()[0], before)
  t.same([...flowTable.entries()], [])
})

t.test('a sweep in slices counts the table once it has been through', async (t) => {
  const { flowTable } = table([
    { state: FLOW_ESTABLISHED, idle: 0 },
    { state: FLOW_HALF_OPEN, idle: 5 },
    { state: FLOW_CLOSING, idle: 5 },
    { state: FLOW_ESTABLISHED, idle: 0, kind: FLOW_REPLY },
    { state: FLOW_ESTABLISHED, idle: 90_000 },
  ])
  t.equal(flowTable.counts, undefined)
  for (let slice = 0; slice < 4; slice++) flowTable.sweep((SETS * FLOW_WAYS) / 4)
  t.same(flowTable.counts, {
    capacity: SETS * FLOW_WAYS,
    live: 4,
    held: 2,
    byState: { HALF_OPEN: 1, ESTABLISHED: 1, CLOSING: 1 },
    byKind: { TO_LOCAL: 3, REPLY: 1 },
  })
})

t.test('a packet of the next tick, seen before this side knows of that tick, is not idle', async (t) => {
  const { flowTable } = table([{ state: FLOW_HALF_OPEN, idle: -1 }])
  t.equal(flowTable.sweep(SETS * FLOW_WAYS), 0)
  t.match([...flowTable.entries()], [{ idleTicks: 0 }])
})

t.test('an entry as people see it', async (t) => {
  const { flowTable } = table([
    { state: FLOW_ESTABLISHED, idle: 30 },
    { state: FLOW_HALF_OPEN, idle: 1, kind: FLOW_REPLY },
  ])
  t.match(
    [...flowTable.entries()],
    [
      {
        kind: 'TO_LOCAL',
        state: 'ESTABLISHED',
        idleTicks: 30,
        client: '198.51.100.7',
        clientPort: 40_000,
        frontendId: 9,
        backendId: 40,
      },
      { kind: 'REPLY', state: 'HALF_OPEN', idleTicks: 1, clientPort: 40_001, backendId: undefined },
    ],
  )
})

t.test("a pod's own flow names the pod's device and port, the peer, and who began it", async (t) => {
  const flows = new ArrayBuffer(SETS * FLOW_WAYS * abi.FLOW_BYTES)
  const details = new ArrayBuffer(SETS * FLOW_WAYS * abi.FLOW_DETAIL_BYTES)
  const word = (7n << BigInt(FLOW_VERSION_SHIFT)) | (BigInt(FLOW_ESTABLISHED) << BigInt(FLOW_STATE_SHIFT))
  const client = addressToBytes(address('2001:db8::7'))
  const write = (entry: number, index: number, flags: number, ifindexHigh: number) => {
    const row = { word, key: [0, 0, 0, 0], index, kind: abi.FlowKind.FLOW_POD, flags, snatPort: 3 }
    abi.encodeFlow(row, Buffer.from(flows), entry * abi.FLOW_BYTES)
    const detail = { client, clientPort: 40_000, protocol: 6, ifindexHigh, frontendId: 17 }
    abi.encodeFlowDetail(detail, Buffer.from(details), entry * abi.FLOW_DETAIL_BYTES)
  }
  write(0, 0xfffe_0050, abi.FlowFlags.FLOW_IS_SERVER, 1)
  write(1, 0, 0, 0)
  const flowTable = new FlowTable({ flows, details, sets: SETS }, () => NOW)
  const [first, older] = [...flowTable.entries()]
  t.match(first, {
    ...{ client: '2001:db8::7', clientPort: 40_000, backendId: undefined, frontendId: 0 },
    podEnd: { ifindex: 0x1_fffe, port: 80, isServer: true, isFromHost: false, isOfHost: false },
  })
  t.equal(older?.podEnd, undefined, 'of programs that did not say it')
  t.same(flowTable.verdicts(), { generations: new Set([3]), rule: 17 })
})

t.test('generations of verdicts are read at once, and masqueraded flows have none', async (t) => {
  const { flowTable } = table([
    { state: FLOW_ESTABLISHED, idle: 0, mark: 7 },
    { state: FLOW_HALF_OPEN, idle: 0, mark: 0x1234 },
    { state: FLOW_ESTABLISHED, idle: 0, kind: abi.FlowKind.FLOW_TO_REMOTE_SNAT, mark: 61_000 },
    { state: 0, idle: 0, mark: 9 },
  ])
  t.same([...flowTable.verdicts().generations].sort(), [0x1234, 7].sort())
})
