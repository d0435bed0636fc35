// Which packets get the node's address, as the text of one nftables transaction.

import t from 'tap'
import { masqueradePorts, masqueradeScript } from '../../../src/agent/masquerade-rules.ts'
import { address, type Prefix, parsePrefix } from '../../../src/model/address.ts'

const prefix = (text: string) => parsePrefix(text) as Prefix
const FACTS = {
  families: ['ipv4', 'ipv6'],
  nodeAddress: { ipv4: address('10.255.0.1'), ipv6: address('fd00:255::1') },
  podCidrs: [prefix('10.244.1.0/24'), prefix('fd00:244:1::/64')],
  inside: [prefix('10.244.0.0/16'), address('10.255.0.2'), address('10.255.0.2'), prefix('10.96.0.0/24')],
  ports: { first: 49_152, last: 60_999 },
} as const

t.test('ports are none of node ports, and none of the datapath’s own', async (t) => {
  t.strictSame(masqueradePorts({ first: 61_000, last: 65_535 }), { first: 49_152, last: 60_999 })
  t.strictSame(masqueradePorts({ first: 50_000, last: 55_000 }), { first: 55_001, last: 65_535 })
  t.strictSame(masqueradePorts({ first: 33_000, last: 40_000 }), { first: 49_152, last: 65_535 })
  t.strictSame(masqueradePorts(undefined), { first: 49_152, last: 65_535 })
  t.strictSame(masqueradePorts({ first: 40_000, last: 65_535 }), { first: 32_768, last: 39_999 })
  t.equal(masqueradePorts({ first: 1024, last: 65_000 }), undefined, 'too few are left')
})

t.test('the table is replaced in one transaction, with everything inside excepted once', async (t) => {
  const script = masqueradeScript(FACTS)
  t.match(script, /^table inet weir\ndelete table inet weir\ntable inet weir \{/)
  t.match(script, 'elements = { 10.244.0.0/16, 10.255.0.2, 10.96.0.0/24, 169.254.0.0/16 }')
  t.match(script, 'elements = { fe80::/10 }')
  t.match(script, 'l4proto { tcp, udp, sctp, icmp } snat ip to 10.255.0.1:49152-60999 fully-random')
  t.match(script, 'l4proto { tcp, udp, sctp, ipv6-icmp } snat ip6 to [fd00:255::1]:49152-60999 fully-random')
  t.match(script, 'icmp type echo-request icmp id 49152-60999 snat to :1-49151', 'the node’s own pings')
})

t.test('a family that is not wanted, or has no address here, is left alone', async (t) => {
  t.notMatch(masqueradeScript({ ...FACTS, families: ['ipv4'] }), /ip6/)
  t.notMatch(masqueradeScript({ ...FACTS, nodeAddress: { ipv6: FACTS.nodeAddress.ipv6 } }), /snat ip to/)
  t.notMatch(masqueradeScript({ ...FACTS, podCidrs: FACTS.podCidrs.slice(0, 1) }), /ip6/)
})
