import t from 'tap'
import { roundsOf } from '../../../bench/tcp/family.ts'
import { forwardedPackets } from '../../../bench/tcp/lanes.ts'
import { processorTime } from '../../../bench/tcp/load.ts'

const SNMP = `Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos
Ip: 1 64 1890 0 0 1234 0
Icmp: InMsgs InErrors
Icmp: 5 0
`

t.test('packets that the stack forwarded are read by the name of their column', async (t) => {
  t.equal(forwardedPackets(SNMP), 1234)
  t.ok(Number.isNaN(forwardedPackets('')), 'no such table')
})

t.test('processor time adds up by processor, and the busier one is told', async (t) => {
  const onTwo = [
    [0, 30],
    [1, 40],
    [0, 5],
    [1, 1],
  ] as const
  t.same(processorTime(onTwo), { total: 76, busiest: 41 })
  t.same(
    processorTime([
      [0, 30],
      [0, 40],
    ]),
    { total: 70, busiest: 70 },
    'a machine of one',
  )
})

t.test('turns make a round: so many connections in the time of all of them', async (t) => {
  const window = (perSecond: number, cpuUs: number) => ({
    perSecond,
    perBusierSecond: 2 * perSecond,
    cpuUs,
    p50Us: 10,
    p99Us: 20,
  })
  const windows = [window(100, 1), window(50, 3), window(10, 5), window(10, 7)]
  t.same(roundsOf(windows, 2), [
    { perSecond: 1 / 0.015, perBusierSecond: 1 / 0.0075, cpuUs: 2, p50Us: 10, p99Us: 20 },
    { perSecond: 10, perBusierSecond: 20, cpuUs: 6, p50Us: 10, p99Us: 20 },
  ])
  t.same(roundsOf(windows, 1), windows)
})
