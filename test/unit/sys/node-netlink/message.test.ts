// The codec alone, without a kernel.

import fc from 'fast-check'
import t from 'tap'
import { checkInterfaceName, decodeMac, encodeMac, nameOf } from '../../../../src/sys/node-netlink/checks.ts'
import { formatPrefix, parsePrefix } from '../../../../src/sys/node-netlink/family.ts'
import {
  Attributes,
  BodyWriter,
  decodeAcknowledgement,
  decodeMessages,
  encodeMessage,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_DONE,
  NLMSG_ERROR,
  setSequence,
} from '../../../../src/sys/node-netlink/message.ts'
import { decodeRoute, encodeRoute, type RouteSpec } from '../../../../src/sys/node-netlink/routes.ts'

const RTM_NEWROUTE = 24

t.test('messages are laid out as RFC 3549 says', async (t) => {
  const body = new BodyWriter()
    .fixed(Buffer.from([1, 2, 3, 4]))
    .u32(5, 0x01020304)
    .text(6, 'lo')
    .finish()
  const message = encodeMessage(24, 5, body)
  setSequence(message, 7)
  t.equal(
    message.toString('hex'),
    '24000000' +
      '18000500' +
      '07000000' +
      '00000000' +
      '01020304' +
      '08000500' +
      '04030201' +
      '070006006c6f0000',
  )
})

t.test('many messages travel in one datagram', async (t) => {
  const one = encodeMessage(1, 0, Buffer.from('abcde'))
  const two = encodeMessage(2, 0, Buffer.alloc(0))
  const decoded = [...decodeMessages(Buffer.concat([one, two, one]))]
  t.same(
    decoded.map(({ type, body }) => [type, body.toString()]),
    [
      [1, 'abcde'],
      [2, ''],
      [1, 'abcde'],
    ],
  )
})

t.test('attributes survive a round trip, nests included', async (t) => {
  const attribute = fc.record({
    type: fc.integer({ min: 1, max: 0x3fff }),
    value: fc.uint8Array({ maxLength: 600 }),
  })
  fc.assert(
    fc.property(fc.uniqueArray(attribute, { selector: ({ type }) => type, maxLength: 20 }), (attributes) => {
      const writer = new BodyWriter().fixed(Buffer.alloc(12))
      writer.nested(9, () => {
        for (const { type, value } of attributes) writer.bytes(type, value)
      })
      const nest = new Attributes(writer.finish(), 12).nested(9)
      for (const { type, value } of attributes) t.ok(nest?.bytes(type)?.equals(value))
    }),
    { numRuns: 50 },
  )
})

t.test('arbitrary bytes are refused or read, never overrun', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const buffer = Buffer.from(bytes)
      for (const read of [() => [...decodeMessages(buffer)], () => new Attributes(buffer).u32(1)]) {
        try {
          read()
        } catch (error) {
          t.match(error, { name: 'NetlinkError', code: 'MALFORMED' })
        }
      }
    }),
  )
  t.throws(() => new Attributes(Buffer.from([5, 0, 1, 0, 9, 0, 0, 0])).u32(1), { code: 'MALFORMED' })
})

t.test('acknowledgements carry the errno and the words of the kernel', async (t) => {
  const words = new BodyWriter().text(1, 'Nexthop has invalid gateway').finish()
  const errno = Buffer.from([0x9b, 0xff, 0xff, 0xff]) // -101
  const request = encodeMessage(24, 5, Buffer.alloc(12))
  const cases = [
    {
      type: NLMSG_ERROR,
      flags: NLM_F_ACK_TLVS | NLM_F_CAPPED,
      body: [errno, request.subarray(0, 16), words],
    },
    { type: NLMSG_ERROR, flags: NLM_F_ACK_TLVS, body: [errno, request, words] },
    { type: NLMSG_DONE, flags: NLM_F_ACK_TLVS, body: [errno, words] },
  ]
  for (const { type, flags, body } of cases) {
    const answer = decodeAcknowledgement({ type, flags, sequence: 1, body: Buffer.concat(body) })
    t.same(answer, { errno: 101, explanation: 'Nexthop has invalid gateway' })
  }
  const bare = { type: NLMSG_DONE, flags: 0, sequence: 1, body: Buffer.alloc(0) }
  t.same(decodeAcknowledgement(bare), { errno: 0, explanation: undefined })
})

t.test('a route says the same after encoding and decoding', async (t) => {
  const specs: RouteSpec[] = [
    { destination: '0.0.0.0/0', nextHops: [{ gateway: '10.0.0.1', index: 2 }] },
    { destination: '::/0', metric: 7, nextHops: [{ gateway: 'fe80::1', index: 2, isOnLink: true }] },
    { destination: '10.0.0.0/8', table: 70000, type: 'blackhole', protocol: 99 },
    {
      destination: '10.1.0.0/16',
      source: '10.0.0.9',
      mtu: 1400,
      nextHops: [{ gateway: 'fe80::2', index: 3 }],
    },
    {
      destination: 'fd00::/48',
      nextHops: [
        { gateway: 'fe80::1', index: 2, weight: 256 },
        { gateway: 'fe80::2', index: 3, weight: 3 },
      ],
    },
  ]
  for (const spec of specs) {
    const route = decodeRoute({ type: RTM_NEWROUTE, flags: 0, sequence: 0, body: encodeRoute(spec, false) })
    const { nextHops = [], ...rest } = spec
    t.match(route, rest)
    t.match(route?.nextHops, nextHops)
  }
})

t.test('values that do not fit are refused with the reason', async (t) => {
  const refused: Array<[() => unknown, RegExp]> = [
    [() => parsePrefix('10.0.0.0/33'), /length must be 0 to 32/],
    [() => parsePrefix('10.0.0.0/'), /not a prefix/],
    [() => parsePrefix('web/24'), /'web' is not an IP address/],
    [() => encodeMac('02:00'), /not a MAC address/],
    [() => checkInterfaceName('sixteen-bytes-xx'), /cannot name an interface/],
    [() => checkInterfaceName('a b'), /cannot name an interface/],
    [
      () => encodeRoute({ destination: '::/0', source: '10.0.0.1' }, false),
      /ipv4 address where ipv6 is needed/,
    ],
    [
      () => encodeRoute({ destination: '::/0', protocol: 256 }, false),
      /route protocol must be a whole number/,
    ],
  ]
  for (const [attempt, message] of refused) t.throws(attempt, { code: 'INVALID_INPUT', message })
})

t.test('small codecs', async (t) => {
  t.equal(decodeMac(encodeMac('02:00:0A:ff:00:01')), '02:00:0a:ff:00:01')
  t.equal(formatPrefix('ipv6', undefined, 0), '::/0')
  t.equal(nameOf({ up: 6 }, 6), 'up')
  t.equal(nameOf({ up: 6 }, 9), '9')
})
