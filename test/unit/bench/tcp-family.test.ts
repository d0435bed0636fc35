import t from 'tap'
import { forwardedPackets } from '../../../bench/tcp/lanes.ts'

const SNMP = `Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos
Ip: 1 64 1890 0 0 1234 0
Icmp: InMsgs InErrors
Icmp: 5 0
`

t.test('packets that the stack forwarded are read by the name of their column', async (t) => {
  t.equal(forwardedPackets(SNMP), 1234)
  t.ok(Number.isNaN(forwardedPackets('')), 'no such table')
})
