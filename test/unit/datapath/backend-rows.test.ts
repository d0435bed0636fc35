// What the kernel refuses leaves neither a wrong row nor a number that is nobody's for ever.

import t from 'tap'
import { BackendRows } from '../../../src/datapath/backend-rows.ts'
import { FrontendFilter } from '../../../src/datapath/frontend-filter.ts'
import { FrontendRows } from '../../../src/datapath/frontend-rows.ts'
import { address } from '../../../src/model/address.ts'
import { type BackendStateName, makeBackend } from '../../../src/services/desired.ts'
import { memoryTables } from './memory-tables.ts'

const GRACE_MS = 1000
const NOBODY = () => false

const backend = (last: number, state: BackendStateName = 'active', protocol: 'TCP' | 'UDP' = 'UDP') =>
  makeBackend({
    address: address(`10.244.1.${last}`),
    port: 53,
    protocol,
    nodeName: 'a',
    state,
    weight: 1,
  })
const keyOf = ({ address, port, protocol }: ReturnType<typeof backend>) => ({ address, port, protocol })

function setUp(rowCount = 1 << 12) {
  const tables = memoryTables(1 << 16, rowCount)
  const filter = new FrontendFilter(tables.filter)
  const place = () => ({ isLocal: false, nexthopId: 16, nodeId: 1 })
  const rows = new BackendRows(tables, filter, { place }, GRACE_MS)
  return { tables, rows, filter }
}

/** Makes a method of a table refuse as long as `isRefusing`. */
function refuse<Name extends string>(table: Record<Name, (...args: never[]) => unknown>, name: Name) {
  const original = table[name].bind(table)
  const state = { isRefusing: true }
  table[name] = (...args) => {
    if (state.isRefusing) throw new Error('the kernel refuses')
    return original(...args)
  }
  return state
}

t.test('a row whose key was refused rests, and its number comes back', async (t) => {
  const { tables, rows } = setUp(2)
  const refusal = refuse(tables.backendIds, 'set')
  t.throws(() => rows.acquire(backend(1), 0), /refuses/)
  refusal.isRefusing = false
  t.notOk(rows.holds(backend(1)))
  t.equal(tables.backends.rows.get(1)?.state, 'gone', 'nobody lists it')
  t.equal(rows.acquire(backend(2), 0), undefined, 'the only number rests')
  rows.wake(GRACE_MS, NOBODY)
  t.equal(tables.backends.rows.size, 0)
  t.equal(rows.acquire(backend(2), GRACE_MS), 1)
})

t.test('the same of a row that rested before, and lingers', async (t) => {
  const { tables, rows } = setUp()
  const pod = backend(1, 'active', 'TCP')
  rows.acquire(pod, 0)
  rows.release(pod, 0)
  t.equal(tables.backends.rows.get(1)?.state, 'terminating')
  const refusal = refuse(tables.backends, 'set')
  t.throws(() => rows.acquire(pod, 500), /refuses/)
  refusal.isRefusing = false
  rows.wake(GRACE_MS, NOBODY)
  t.equal(tables.backends.rows.get(1)?.state, 'terminating', 'its rest began anew')
  rows.wake(500 + GRACE_MS, NOBODY)
  t.same([tables.backends.rows.size, tables.backendIds.rows.size, rows.used], [0, 0, 0])
})

t.test('a reference that was refused does not make the row better than the others say', async (t) => {
  const { tables, rows } = setUp()
  rows.acquire(backend(1, 'terminating'), 0)
  const refusal = refuse(tables.backendIds, 'set')
  tables.backendIds.rows.clear()
  const { rows: adopted } = (() => {
    const filter = new FrontendFilter(tables.filter)
    const again = new BackendRows(
      tables,
      filter,
      { place: () => ({ isLocal: false, nexthopId: 16, nodeId: 1 }) },
      GRACE_MS,
    )
    again.adopt()
    return { rows: again }
  })()
  t.throws(() => adopted.acquire(backend(1, 'active'), 0), /refuses/)
  t.equal(tables.backends.rows.get(1)?.state, 'gone', 'written active, but nobody counts on it')
  refusal.isRefusing = false
  t.equal(adopted.acquire(backend(1, 'terminating'), 0), 1)
  t.equal(tables.backends.rows.get(1)?.state, 'terminating')
})

t.test('letting go does not fail; what the kernel refused is written later', async (t) => {
  const { tables, rows } = setUp()
  for (const last of [1, 2]) rows.acquire(backend(last), 0)
  rows.acquire(backend(2, 'terminating'), 0)
  const refusal = refuse(tables.backends, 'set')
  for (const last of [1, 2]) rows.release(backend(last), 0)
  t.same([rows.holds(backend(1)), rows.holds(backend(2))], [false, true])
  t.equal(rows.nextWakeMs(), 0, 'it is owed now')
  t.throws(() => rows.wake(1, NOBODY), /refuses/, 'who waits for it is told')
  t.same(
    [1, 2].map((id) => tables.backends.rows.get(id)?.state),
    ['active', 'active'],
  )
  refusal.isRefusing = false
  rows.wake(2, NOBODY)
  t.same(
    [1, 2].map((id) => tables.backends.rows.get(id)?.state),
    ['gone', 'terminating'],
  )
  t.notOk(tables.backendIds.get(keyOf(backend(1))), 'and other nodes find it no more')
  rows.wake(GRACE_MS, NOBODY)
  t.same([...tables.backends.rows.keys()], [2])
})

t.test('a row that cannot be cleared keeps its number from others', async (t) => {
  const { tables, rows } = setUp()
  for (const last of [1, 2, 3]) rows.acquire(backend(last), 0)
  for (const last of [1, 2, 3]) rows.release(backend(last), 0)
  const set = tables.backends.set.bind(tables.backends)
  tables.backends.set = (id, value) => {
    if (id === 2 && value === undefined) throw new Error('the kernel refuses')
    set(id, value)
  }
  t.throws(() => rows.wake(GRACE_MS, NOBODY), /refuses/)
  t.same([...tables.backends.rows.keys()], [2], 'the others are cleared all the same')
  const fresh = [4, 5, 6].map((last) => rows.acquire(backend(last), GRACE_MS))
  t.notOk(fresh.includes(2), `${fresh}`)
  tables.backends.set = set
  rows.wake(2 * GRACE_MS, NOBODY)
  t.notOk(tables.backends.rows.has(2))
  t.equal(rows.acquire(backend(7), 2 * GRACE_MS), 2)
})

t.test('nor does a row of what replies name', async (t) => {
  const { tables, filter } = setUp()
  const rows = new FrontendRows(tables, filter, GRACE_MS)
  const vips = [1, 2].map((last) => address(`10.96.0.${last}`))
  for (const vip of vips) {
    const id = rows.take(vip) ?? 0
    rows.write(id, { address: vip, port: 80, protocol: 'TCP', serviceId: 1 })
    rows.rest(id, vip, 0)
  }
  const refusal = refuse(tables.frontendAddresses, 'set')
  t.throws(() => rows.wake(GRACE_MS, NOBODY), /refuses/)
  t.equal(rows.take(address('10.96.0.3')), 3)
  refusal.isRefusing = false
  rows.wake(2 * GRACE_MS, NOBODY)
  t.equal(tables.frontendAddresses.rows.size, 0)
})
