import t from 'tap'
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
