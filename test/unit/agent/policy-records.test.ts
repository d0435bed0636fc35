// What policy drops and audits, as it is kept: one record for what is the same, bounded, named, and by the next agent too.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { AddressBook } from '../../../src/agent/address-book.ts'
import { RequestError } from '../../../src/agent/local-api.ts'
import { exposition } from '../../../src/agent/metrics/exposition.ts'
import { policyReadings } from '../../../src/agent/metrics/policy-readings.ts'
import { PolicyRecords, RECORDS_MAX } from '../../../src/agent/policy-records.ts'
import {
  POLICY_RECORDS_FILE,
  PolicyRecordsFile,
  readPolicyRecords,
} from '../../../src/agent/policy-records-file.ts'
import { showRecords } from '../../../src/agent/records-view.ts'
import { formatRecords } from '../../../src/cli/policy-audit.ts'
import * as abi from '../../../src/datapath/abi.gen.ts'
import { address, addressToBytes } from '../../../src/model/address.ts'
import type { RuleName } from '../../../src/policy/compile/rule-ids.ts'
import { nodeRow } from '../model/rows.ts'
import { pod } from '../policy/rows.ts'
import { tables } from './policy-world-tables.ts'

const { EVENT_DROP, EVENT_WOULD_DROP, EVENT_WOULD_PASS } = abi.EventKind
const { REASON_POLICY_INGRESS, REASON_POLICY_EGRESS, REASON_SOURCE_RANGE } = abi.VerdictReason
const RULE = 17
const BOOT_MS = 1_000_000

interface Told {
  readonly kind?: number
  readonly reason?: number
  readonly source?: string
  readonly destination?: string
  readonly port?: number
  readonly protocol?: number
  readonly rule?: number
  readonly seconds?: number
  readonly sourcePort?: number
}

function batchOf(events: readonly Told[]) {
  const data = Buffer.alloc(events.length * abi.PACKET_EVENT_BYTES)
  for (const [index, told] of events.entries())
    abi.encodePacketEvent(
      {
        timeNs: BigInt(told.seconds ?? 1) * 1_000_000_000n,
        source: addressToBytes(address(told.source ?? '10.0.2.1')),
        destination: addressToBytes(address(told.destination ?? '10.0.1.1')),
        sourcePort: told.sourcePort ?? 40_000,
        destinationPort: told.port ?? 80,
        protocol: told.protocol ?? 6,
        kind: told.kind ?? EVENT_WOULD_DROP,
        reason: told.reason ?? REASON_POLICY_INGRESS,
        ifindex: 3,
        serviceId: told.rule ?? RULE,
      },
      data,
      index * abi.PACKET_EVENT_BYTES,
    )
  const offsets = Uint32Array.from(events, (_, index) => index * abi.PACKET_EVENT_BYTES)
  return { data, count: events.length, offsets, lengths: offsets.map(() => abi.PACKET_EVENT_BYTES) }
}

const NAME: RuleName = {
  ...{ kind: 'NetworkPolicy', key: 'shop/web', part: 0, direction: 'ingress', index: 0 },
  path: 'spec.ingress[0]',
}

function records(kept?: ReturnType<PolicyRecords['keep']>) {
  const { policy, nodes } = tables()
  const put = (key: string, at: string) =>
    policy.pods.set(
      key,
      pod(key, { labels: { 'pod-template-hash': key.split('-')[1] ?? '' }, addresses: [at] }),
    )
  put('shop/web-5bd9-bcdfg', '10.0.1.1')
  put('shop/web-5bd9-hjklm', '10.0.1.2')
  put('shop/cart-7c-bcdfg', '10.0.2.1')
  nodes.set('n2', nodeRow('n2', { addresses: [address('192.0.2.2')] }))
  const book = new AddressBook({ pods: policy.pods, nodes })
  return new PolicyRecords({
    who: (one) => book.at(one),
    isLent: (_, sourcePort) => sourcePort >= 60_000,
    nameOf: (rule) => (rule === RULE ? NAME : undefined),
    bootMs: BOOT_MS,
    kept,
  })
}

t.test('pods of a workload are one record; what policy did not do is none', async (t) => {
  const all = records()
  all.take(
    batchOf([
      { seconds: 1 },
      { seconds: 2, destination: '10.0.1.2' },
      { reason: REASON_SOURCE_RANGE, kind: EVENT_DROP },
      { kind: EVENT_WOULD_PASS, reason: REASON_POLICY_EGRESS, seconds: 4, port: 8, protocol: 1 },
      { kind: EVENT_DROP, seconds: 5, rule: 99 },
    ]),
  )
  t.match(all.list(), [
    { kind: 'dropped', rule: 'rule 99, of a policy that is gone', name: undefined },
    { kind: 'would-pass', direction: 'egress', protocol: 'icmp', port: 8 },
    {
      ...{ kind: 'would-drop', direction: 'ingress', source: 'shop/cart', destination: 'shop/web', port: 80 },
      ...{ count: 2, firstMs: BOOT_MS + 1000, lastMs: BOOT_MS + 2000, protocol: 'tcp' },
      rule: 'NetworkPolicy shop/web, spec.ingress[0]',
      last: { source: '10.0.2.1', destination: '10.0.1.2', sourcePort: 40_000 },
    },
  ])
  t.strictSame(all.tallies.get('NetworkPolicy shop/web'), { dropped: 0, 'would-drop': 2, 'would-pass': 1 })

  const metrics = policyReadings({ tallies: () => all.tallies, count: () => all.count })
  const text = exposition(metrics, () => {})
  t.match(text, /^weir_policy_packets_total\{policy="NetworkPolicy shop\/web",what="would-drop"\} 2$/m)
  t.match(text, /^weir_policy_records 3$/m)

  const shown = (query: string) => showRecords(new URLSearchParams(query), all, ['shop/x']).records.length
  t.strictSame([shown(''), shown('all'), shown('policy=shop/web'), shown('policy=shop/x')], [2, 3, 2, 0])
  const page = formatRecords(showRecords(new URLSearchParams('all'), all, []), BOOT_MS + 65_000)
  t.match(page, /^WHAT +END +SOURCE +DESTINATION +PORT +PACKETS +FIRST +LAST +RULE$/m)
  t.match(page, /^would drop +ingress +shop\/cart +shop\/web +80\/tcp +2 +64s +63s +\[2\]$/m)
  t.match(page, /^\[2\] NetworkPolicy shop\/web, spec\.ingress\[0\]$/m)
  t.throws(() => showRecords(new URLSearchParams('policy=shop/wbe'), all, ['shop/web2']), {
    constructor: RequestError,
    message: /there is no policy 'shop\/wbe'.*did you mean shop\/web2/,
  })
  t.ok(page.split('\n').every((line) => line.length <= 120))
  t.equal(formatRecords({ records: [], forgotten: 0 }, 0), 'Nothing is recorded.\n')
})

t.test('a node, and who hides behind its address, are two', async (t) => {
  const all = records()
  all.take(batchOf([{ source: '192.0.2.2' }, { source: '192.0.2.2', sourcePort: 60_007 }]))
  t.strictSame(
    all.list().map(({ source }) => source),
    ['outside, as 192.0.2.2', 'node n2'],
  )
})

t.test(
  'a scan from outside is one record beyond the first addresses, and the oldest make room',
  async (t) => {
    const all = records()
    const from = (index: number) => `203.0.${index >> 8}.${index & 255}`
    all.take(batchOf(Array.from({ length: 100 }, (_, index) => ({ source: from(index) }))))
    t.equal(all.list().length, 33)
    t.match(all.list()[0], { source: 'outside', count: 68, last: { source: from(99) } })
    all.take(batchOf([{ source: from(3), seconds: 9 }]))
    t.match(all.list()[0], { source: from(3), count: 2 }, 'who has a record keeps it')
    const ports = Array.from({ length: RECORDS_MAX + 7 }, (_, index) => ({ port: 1000 + index }))
    all.take(batchOf(ports))
    t.equal(all.list().length, RECORDS_MAX)
    t.equal(all.forgotten, 40)
    t.equal(
      all.tallies.get('NetworkPolicy shop/web')?.['would-drop'],
      101 + RECORDS_MAX + 7,
      'counted all the same',
    )
  },
)

t.test('the next agent goes on with them', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-records-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const warnings: string[] = []
  const log = { warn: (_details: unknown, text?: string) => void warnings.push(text ?? '') }
  t.equal(readPolicyRecords(directory, log), undefined)
  const before = records()
  before.take(batchOf([{ seconds: 1 }, { seconds: 2, source: '203.0.113.1' }]))
  new PolicyRecordsFile(directory, before, log).close()
  const after = records(readPolicyRecords(directory, log))
  t.strictSame(after.list(), before.list())
  after.take(batchOf([{ seconds: 5 }]))
  t.match(after.list()[0], { count: 2, firstMs: BOOT_MS + 1000 })
  t.equal(after.tallies.get('NetworkPolicy shop/web')?.['would-drop'], 3)
  t.strictSame(warnings, [])
  writeFileSync(join(directory, POLICY_RECORDS_FILE), '{"records": 7}')
  t.equal(readPolicyRecords(directory, log), undefined)
  t.match(warnings, [/cannot be read/])
})
