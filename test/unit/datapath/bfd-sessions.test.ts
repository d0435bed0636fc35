// The writer of BFD sessions, on tables in memory.

import t from 'tap'
import { BfdSessionState, type BfdState } from '../../../src/datapath/abi.gen.ts'
import { type BfdPlan, BfdSessions } from '../../../src/datapath/bfd-sessions.ts'
import type { BfdKey, BfdSessionValue, BfdTables } from '../../../src/datapath/bfd-tables.ts'
import { address } from '../../../src/model/address.ts'

const BLANK: BfdState = {
  heardNs: 0n,
  answeredNs: 0n,
  changedNs: 0n,
  received: 0n,
  answered: 0n,
  refused: [0, 0, 0, 0, 0],
  ups: 0,
  downs: 0,
  detectionUs: 0,
  remoteDiscriminator: 0,
  remoteDesiredUs: 0,
  remoteRequiredUs: 0,
  toldDesiredUs: 0,
  toldRequiredUs: 0,
  requiredUs: 0,
  ifindex: 0,
  state: BfdSessionState.BFD_DOWN,
  diagnostic: 0,
  remoteState: 0,
  remoteDiagnostic: 0,
  remoteFlags: 0,
  remoteMultiplier: 0,
  isPolling: 0,
  governs: 0,
}

class MemoryTables implements BfdTables {
  readonly rows = new Map<string, readonly [BfdKey, BfdSessionValue]>()
  readonly done: string[] = []
  readonly sessions = {
    entries: () => this.rows.values(),
    set: (key: BfdKey, value: BfdSessionValue) => {
      this.done.push(`set ${key.peer}`)
      this.rows.set(`${key.ifindex} ${key.peer}`, [key, value])
    },
    delete: (key: BfdKey) => {
      this.done.push(`delete ${key.peer}`)
      this.rows.delete(`${key.ifindex} ${key.peer}`)
    },
  }
  readonly states = {
    length: 2,
    read: () => BLANK,
    reset: (row: number) => void this.done.push(`reset ${row}`),
    release: (row: number) => void this.done.push(`release ${row}`),
  }

  value(peer: string): BfdSessionValue | undefined {
    return [...this.rows.values()].find(([key]) => key.peer === peer)?.[1]
  }
}

const plan = (peer: string, change: Partial<BfdPlan> = {}): BfdPlan => ({
  peer: address(peer),
  ifindex: 7,
  local: address('10.0.0.1'),
  intervalUs: 300_000,
  multiplier: 3,
  governs: ['ipv4'],
  ...change,
})

function make(tables = new MemoryTables(), first = 100): { tables: MemoryTables; sessions: BfdSessions } {
  let number = first
  return { tables, sessions: new BfdSessions(tables, () => number++) }
}

t.test('a session gets a row and a number, and keeps them', async (t) => {
  const { tables, sessions } = make()
  t.strictSame(sessions.set([plan('10.0.0.0'), plan('fd00::1')], true, 0n), [])
  t.match(tables.value('10.0.0.0'), { row: 0, discriminator: 100, isAdminDown: false })
  t.match(tables.value('fd00::1'), { row: 1, discriminator: 101 })
  t.strictSame(tables.done, ['reset 0', 'set 10.0.0.0', 'reset 1', 'set fd00::1'], 'the state comes first')
  tables.done.length = 0
  sessions.set([plan('10.0.0.0'), plan('fd00::1', { multiplier: 5 })], true, 0n)
  t.strictSame(tables.done, ['set fd00::1'], 'what is as it was is not written, and no state is touched')
  t.match(tables.value('fd00::1'), { row: 1, discriminator: 101, multiplier: 5 })
  t.strictSame(
    sessions.set([plan('10.0.0.0'), plan('fd00::1'), plan('fd00::2')], true, 0n),
    [plan('fd00::2')],
    'no room',
  )
})

t.test('another process adopts', async (t) => {
  const { tables, sessions } = make()
  sessions.set([plan('10.0.0.0')], true, 0n)
  tables.done.length = 0
  const next = make(tables, 100).sessions
  next.set([plan('10.0.0.0'), plan('fd00::1')], true, 0n)
  t.strictSame(tables.done, ['reset 1', 'set fd00::1'])
  t.match(tables.value('fd00::1'), { row: 1, discriminator: 101 }, 'a number that is taken is drawn again')
})

t.test('one that is no longer wanted says so before it goes', async (t) => {
  const { tables, sessions } = make()
  sessions.set([plan('10.0.0.0'), plan('fd00::1')], true, 0n)
  tables.done.length = 0
  sessions.set([plan('fd00::1')], false, 0n)
  t.strictSame(tables.done, [], 'not before all are known that are')
  sessions.set([plan('fd00::1')], true, 0n)
  sessions.set([plan('fd00::1')], true, 1n)
  t.match(tables.value('10.0.0.0'), { isAdminDown: true, governs: [] })
  t.strictSame(tables.done, ['set 10.0.0.0'])
  t.equal(sessions.retire(1_000_000_000n), false, 'its neighbour must have heard')
  t.equal(sessions.retire(5_000_000_000n), true)
  t.strictSame(tables.done, ['set 10.0.0.0', 'release 0', 'delete 10.0.0.0'])
  t.equal(sessions.retire(6_000_000_000n), false)

  sessions.set([], true, 0n)
  sessions.set([plan('fd00::1')], true, 0n)
  t.match(
    tables.value('fd00::1'),
    { isAdminDown: false, discriminator: 101, governs: ['ipv4'] },
    'wanted again',
  )
  t.equal(sessions.retire(99_000_000_000n), false)
})
