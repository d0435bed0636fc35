// Rows of the packet driver: what it writes into its template must be the packet that a builder makes from nothing.

import t from 'tap'
import { packetList, ROW_BYTES, reordered, scrambled, single } from '../../../bench/packet/packet-list.ts'
import { addressFromNumber, type Family } from '../../../src/model/address.ts'
import { frame } from '../../bpf/packet.ts'

const LINK = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:fe' }
const ABOVE = { ipv4: 0n, ipv6: 0x20010db8_0000000c_00000000n << 32n } as const
const AT = {
  ipv4: { check: 24, source: 26, destination: 30, ports: 34 },
  ipv6: { check: undefined, source: 34, destination: 50, ports: 54 },
} as const

const FIRST = { source: 0x64400000, sourcePort: 32_768, destination: 0x14080000, destinationPort: 80 }
const ENDS = [
  FIRST,
  { source: 0xffffffff, sourcePort: 65_535, destination: 0xfffefffd, destinationPort: 65_535 },
  { source: 1, sourcePort: 1, destination: 2, destinationPort: 2 },
  { source: 0x7fff8000, sourcePort: 1024, destination: 0xac10ffff, destinationPort: 443 },
]

function build(
  family: Family,
  protocol: 'TCP' | 'UDP',
  { source, sourcePort, destination, destinationPort } = FIRST,
) {
  const end = (low: number) => addressFromNumber(family, ABOVE[family] | BigInt(low))
  const blank = frame(LINK).from(end(source), sourcePort).to(end(destination), destinationPort)
  return (protocol === 'TCP' ? blank.tcp('syn') : blank.udp()).payload(64)
}

/** As driver.bpf.c does it. */
function applied(template: Buffer, family: Family, protocol: 'TCP' | 'UDP', row: Uint8Array): Buffer {
  const bytes = Buffer.from(template)
  const at = AT[family]
  bytes.set(row.subarray(0, 4), at.source)
  bytes.set(row.subarray(4, 8), at.destination)
  bytes.set(row.subarray(8, 12), at.ports)
  bytes.set(row.subarray(12, 14), at.ports + (protocol === 'TCP' ? 16 : 6))
  if (at.check !== undefined) bytes.set(row.subarray(14, 16), at.check)
  return bytes
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of ['TCP', 'UDP'] as const)
    t.test(`${family} ${protocol}: each row makes the packet with its ends and checksums`, async (t) => {
      const list = packetList(family, protocol, build(family, protocol, ENDS[3]), ENDS)
      for (const [index, ends] of ENDS.entries()) {
        const row = list.rows.subarray(index * ROW_BYTES, (index + 1) * ROW_BYTES)
        const made = applied(list.template, family, protocol, row)
        t.equal(made.toString('hex'), build(family, protocol, ends).bytes().toString('hex'))
      }
    })

t.test('an order names every packet once, and another than the first', async (t) => {
  const order = scrambled(1000, 7)
  t.same(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, index) => index),
  )
  t.not(order.join(), [...order].sort((a, b) => a - b).join())
  t.equal(scrambled(1000, 7).join(), order.join(), 'the same again')
  t.not(scrambled(1000, 8).join(), order.join())
})

t.test('a list in another order, and one packet of it', async (t) => {
  const list = packetList('ipv4', 'TCP', build('ipv4', 'TCP'), ENDS)
  const turned = reordered(list, Uint32Array.of(2, 0))
  t.equal(turned.count, 2)
  t.same(turned.rows.subarray(0, ROW_BYTES), list.rows.subarray(2 * ROW_BYTES, 3 * ROW_BYTES))
  t.same(single(list, 3).rows, list.rows.subarray(3 * ROW_BYTES))
})

t.test('what the driver cannot take is refused', async (t) => {
  const short = frame(LINK).from(addressFromNumber('ipv4', 1n), 1).to(addressFromNumber('ipv4', 2n), 2).udp()
  t.throws(() => packetList('ipv4', 'UDP', short, ENDS), /shorter than the driver's template/)
})
