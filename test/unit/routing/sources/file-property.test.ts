// Whatever a file says: it is refused, or the routing it gives keeps the model's promises.

import fc from 'fast-check'
import t from 'tap'
import { ConfigError } from '../../../../src/agent/config.ts'
import { familyOf } from '../../../../src/model/address.ts'
import type { FileRouting } from '../../../../src/routing/sources/file.ts'
import { mergeRouting } from '../../../../src/routing/sources/merge.ts'
import { broken } from './promises.ts'
import { fileRouting, node } from './rows.ts'

const address = fc.constantFrom(
  '10.0.0.1',
  '10.0.0.2',
  '10.255.0.1',
  '0.0.0.0',
  'fd00::1',
  'fe80::1',
  'ff02::1',
  'x',
)
const selector = fc.constantFrom({}, { matchLabels: { rack: 'a' } }, { matchLabels: { rack: 'b' } })
const small = fc.integer({ min: -1, max: 12 })
const asn = fc.constantFrom(0, 1, 65_001, 65_101, 23_456, 'external', 'internal')
const attributes = fc.record(
  {
    communities: fc.array(fc.constantFrom('1:2', '1:2:3', 'no-export', '65536:1'), { maxLength: 3 }),
    localPref: small,
    med: small,
    prepend: fc.constantFrom(0, 3, 33),
  },
  { requiredKeys: [] },
)
const length = fc.integer({ min: 0, max: 33 })

const peer = fc.record(
  {
    name: fc.constantFrom('a', 'b', 'mesh'),
    nodeSelector: selector,
    address,
    interface: fc.constantFrom('eth0', 'eth1'),
    nodes: selector,
    asn,
    localAsn: fc.constantFrom(65_199),
    port: fc.constantFrom(0, 179, 65_536),
    localAddress: address,
    family: fc.constantFrom('ipv4', 'ipv6'),
    families: fc.array(fc.constantFrom('ipv4', 'ipv6'), { maxLength: 3 }),
    timers: fc.record({ holdSeconds: small, keepaliveSeconds: small }, { requiredKeys: [] }),
    multihopTtl: fc.integer({ min: 1, max: 256 }),
    ttlSecurity: fc.constantFrom(true, false, 0, 1, 255),
    gracefulRestart: fc.constantFrom(true, false, {}, { restartSeconds: 5000 }),
    bfd: fc.constantFrom(true, false, { intervalMs: 1 }, { multiplier: 3 }),
    reflectorClient: fc.constantFrom(true, {}, { clusterId: '1.2.3.4' }, { clusterId: 'fd00::1' }),
    imports: fc.record({
      prefixes: fc.array(
        fc.record(
          {
            prefix: fc.constantFrom('10.0.0.0/8', '0.0.0.0/0', 'fd00::/8'),
            lengthMin: length,
            lengthMax: length,
          },
          { requiredKeys: ['prefix'] },
        ),
        { minLength: 1, maxLength: 2 },
      ),
    }),
    attributes,
  },
  { requiredKeys: ['asn'] },
)

/** Likely to be accepted, so that the promises are tried too. */
const plainPeer = fc.record(
  {
    name: fc.constantFrom('a', 'b', 'c'),
    nodeSelector: selector,
    address: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.255.0.1', 'fd00::1'),
    asn: fc.constantFrom(65_001, 65_101, 'external', 'internal'),
    multihopTtl: fc.constantFrom(4),
    reflectorClient: fc.constantFrom(true),
    attributes: fc.constant({ med: 3 }),
  },
  { requiredKeys: ['address', 'asn'] },
)

const routing = fc.record(
  {
    asn: fc.constantFrom(65_101, 65_001),
    routerId: fc.constantFrom('10.255.0.1', '9.9.9.9', 'fd00::1'),
    loopbacks: fc.constantFrom(['10.255.0.1/32'], ['10.255.0.1/32', 'fd00:255::1/128'], ['10.0.0.0/24']),
    podCidrs: fc.constantFrom([], ['10.244.1.0/24', '10.244.1.0/24'], ['0.0.0.0/0']),
    nodes: fc.array(fc.record({ nodeSelector: selector, asn: fc.constantFrom(65_101, 65_102) }), {
      maxLength: 2,
    }),
    peers: fc.array(fc.oneof({ arbitrary: plainPeer, weight: 4 }, { arbitrary: peer, weight: 1 }), {
      maxLength: 4,
    }),
    announce: fc.array(
      fc.record(
        {
          kinds: fc.array(fc.constantFrom('podCIDR', 'loadBalancerIP', 'loopback', 'clusterIP'), {
            maxLength: 2,
          }),
          peers: fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 2 }),
          attributes,
        },
        { requiredKeys: ['kinds'] },
      ),
      { maxLength: 2 },
    ),
    listen: fc.constantFrom(true, false, { port: 1179 }),
  },
  { requiredKeys: [] },
)

t.test('refused, or sound', async (t) => {
  let accepted = 0
  fc.assert(
    fc.property(routing, fc.constantFrom('a', 'b', 'c'), (document, rack) => {
      let file: FileRouting
      try {
        file = fileRouting(JSON.stringify(document))
      } catch (error) {
        if (error instanceof ConfigError) return
        throw error
      }
      const facts = {
        self: node(1, { labels: { rack } }),
        others: [node(2, { labels: { rack: 'a' } }), node(3)],
      }
      const merged = mergeRouting({ file, pools: [], facts, others: [] })
      if (merged.routing === undefined) return
      accepted += 1
      const faults = broken(merged.routing)
      for (const { families, remote, timers, name } of merged.routing.peers) {
        if (timers.keepaliveSeconds * 3 > timers.holdSeconds) faults.push(`keepalive of ${name}`)
        if (remote.kind === 'address' && familyOf(remote.address) === 'ipv4' && families.includes('ipv6'))
          faults.push(`IPv6 over IPv4 of ${name}`)
      }
      if (faults.length > 0) throw new Error(faults.join(', '))
    }),
    { numRuns: 1500 },
  )
  t.ok(accepted > 50, `${accepted} of 1500 were accepted`)
})
