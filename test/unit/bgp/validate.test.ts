// Nothing that gobgpd would misread gets past the client: each row is something gobgpd 3.10 answers OK to.

import t from 'tap'
import { parseAddress, parsePrefix } from '../../../bgp/client/prefix.ts'
import type { DaemonSettings, DefinedSet, PeerSettings, PolicyStatement } from '../../../bgp/client/types.ts'
import { checkPath, parseCommunity, parseLargeCommunity } from '../../../bgp/client/validate-path.ts'
import {
  checkBmp,
  checkDaemon,
  checkPeer,
  checkReason,
  checkRemote,
} from '../../../bgp/client/validate-peer.ts'
import { checkAssignment, checkPolicy, checkSet } from '../../../bgp/client/validate-policy.ts'

t.test('prefixes are canonical or refused', async (t) => {
  const rows: [string, string | undefined][] = [
    ['203.0.113.9/32', '203.0.113.9/32'],
    ['203.0.113.9', undefined],
    ['203.0.113.9/', undefined],
    ['bogus/32', undefined],
    ['10.0.0.1/33', undefined],
    ['203.0.113.77/24', undefined],
    ['010.0.0.0/8', undefined],
    ['2001:DB8:0:0::7/128', '2001:db8::7/128'],
    ['2001:db8::1/64', undefined],
    ['::ffff:203.0.113.7/128', undefined],
    ['fe80::1%eth0/128', undefined],
    ['1:0:0:2:0:0:0:3/128', '1:0:0:2::3/128'],
    ['::/0', '::/0'],
    ['::192.0.2.1/128', '::c000:201/128'],
  ]
  for (const [text, expected] of rows) t.equal(parsePrefix(text)?.text, expected, text)
  t.equal(parseAddress('fe80::1%eth0'), undefined)
})

t.test('paths', async (t) => {
  t.ok(checkPath({ prefix: '203.0.113.9/32', nextHop: '10.0.0.1', communities: ['65535:0'] }))
  t.ok(
    checkPath({
      prefix: '203.0.113.9/32',
      largeCommunities: ['4294967295:0:1'],
      med: 0,
      localPref: 4294967295,
      asPath: [64512, 4200000000],
      origin: 'incomplete',
    }),
  )
  const good = { prefix: '203.0.113.9/32' }
  const refused = [
    { prefix: '0.0.0.0/0' },
    { prefix: '::/0' },
    { prefix: '203.0.113.77/24' },
    { ...good, nextHop: 'fd00::1' },
    { ...good, nextHop: '0.0.0.0' },
    { ...good, nextHop: '224.0.0.1' },
    { prefix: '2001:db8::7/128', nextHop: '10.0.0.1' },
    { prefix: '2001:db8::7/128', nextHop: '::ffff:10.0.0.1' },
    { prefix: '2001:db8::7/128', nextHop: 'ff02::1' },
    { ...good, communities: ['65536:0'] },
    { ...good, communities: ['no-export'] },
    { ...good, largeCommunities: ['1:2'] },
    { ...good, largeCommunities: ['4294967296:0:0'] },
    { ...good, communities: Array.from({ length: 65 }, (_, index) => `1:${index}`) },
    { ...good, med: -1 },
    { ...good, med: 1.5 },
    { ...good, localPref: 2 ** 32 },
    { ...good, asPath: [0] },
    { ...good, asPath: Array.from({ length: 65 }, () => 1) },
  ]
  for (const path of refused) t.throws(() => checkPath(path), { code: 'INVALID_PATH' }, JSON.stringify(path))
  t.equal(parseCommunity('65535:0'), 0xffff0000)
  t.same(parseLargeCommunity('1:2:3'), { globalAdmin: 1, localData1: 2, localData2: 3 })
})

t.test('peers', async (t) => {
  const good: PeerSettings = {
    remote: { kind: 'address', address: '10.0.0.1' },
    asn: 65001,
    families: ['ipv4'],
    port: 179,
    holdSeconds: 9,
    keepaliveSeconds: 3,
    connectRetrySeconds: 5,
  }
  const unnumbered = { kind: 'interface', interface: 'eth0' } as const
  const restart = { restartSeconds: 60, deferralSeconds: 1, localRestarting: true }
  checkPeer(good)
  checkPeer({
    ...good,
    remote: unnumbered,
    linkLocal: 'fe80::1',
    asn: 'any',
    localAsn: 4200000000,
    families: ['ipv4', 'ipv6'],
  })
  checkPeer({ ...good, multihopTtl: 2, gracefulRestart: { ...restart, longLivedSeconds: 3600 } })
  const wrong: Partial<PeerSettings>[] = [
    { remote: { kind: 'address', address: '' } },
    { remote: { kind: 'address', address: 'all' } },
    { remote: { kind: 'address', address: 'fe80::1%eth0' } },
    { remote: { kind: 'interface', interface: '' } },
    { remote: { kind: 'interface', interface: 'sixteen-letters-' } },
    { asn: 0 },
    { localAsn: 0 },
    { families: [] },
    { families: ['ipv4', 'ipv4'] },
    { localAddress: 'fd00::1' },
    { remote: unnumbered, localAddress: '10.0.0.1' },
    { linkLocal: 'fe80::1' },
    { remote: unnumbered, linkLocal: 'fd00::1' },
    { remote: unnumbered, linkLocal: 'fe80::' },
    { bindInterface: '' },
    { port: 0 },
    { password: '' },
    { password: 'x'.repeat(81) },
    { description: 'x'.repeat(256) },
    { holdSeconds: 2 },
    { keepaliveSeconds: 4 },
    { connectRetrySeconds: 4 },
    { multihopTtl: 1 },
    { multihopTtl: 256 },
    { ttlSecurityMin: 0 },
    { ttlSecurityMin: 255, multihopTtl: 2 },
    { reflectorClient: { clusterId: '1' } },
    { prefixLimits: [{ family: 'ipv6', maximum: 1 }] },
    { prefixLimits: [{ family: 'ipv4', maximum: 0 }] },
    { prefixLimits: [{ family: 'ipv4', maximum: 1, warnPercent: 101 }] },
    { gracefulRestart: { ...restart, restartSeconds: 4096 } },
    { gracefulRestart: { ...restart, deferralSeconds: 0 } },
    { gracefulRestart: { ...restart, longLivedSeconds: 2 ** 24 } },
  ]
  for (const change of wrong)
    t.throws(() => checkPeer({ ...good, ...change }), { code: 'INVALID_PEER' }, JSON.stringify(change))
  t.throws(() => checkRemote({ kind: 'address', address: '' }), { code: 'INVALID_PEER' })
  checkReason('é'.repeat(64))
  t.throws(() => checkReason('é'.repeat(65)), { code: 'INVALID_PEER' })
})

t.test('daemons and collectors', async (t) => {
  const good: DaemonSettings = { asn: 65101, routerId: '10.0.0.1' }
  checkDaemon({ ...good, listenPort: 179, listenAddresses: ['10.0.0.1', 'fd00::1'] })
  const wrong: Partial<DaemonSettings>[] = [
    { asn: 0 },
    { routerId: 'fd00::1' },
    { listenPort: -1 },
    { listenPort: 179, listenAddresses: ['eth0'] },
    { listenAddresses: ['10.0.0.1'] },
  ]
  for (const change of wrong)
    t.throws(() => checkDaemon({ ...good, ...change }), { code: 'INVALID_DAEMON' }, JSON.stringify(change))
  const station = { address: '10.0.0.1', port: 11019, policy: 'local-rib' } as const
  checkBmp(station)
  for (const change of [{ address: 'noc' }, { port: 0 }, { statisticsSeconds: 14 }])
    t.throws(() => checkBmp({ ...station, ...change }), { code: 'INVALID_DAEMON' }, JSON.stringify(change))
})

t.test('sets', async (t) => {
  const member = (prefix: string, lengthMin: number, lengthMax: number) => ({ prefix, lengthMin, lengthMax })
  const prefixes = (...members: ReturnType<typeof member>[]): DefinedSet => ({
    kind: 'prefix',
    name: 's',
    members,
  })
  checkSet(prefixes(member('10.0.0.0/8', 8, 32)))
  checkSet({ kind: 'neighbor', name: 's', members: ['10.0.0.1', 'fe80::1', '10.0.0.0/24'] })
  checkSet({ kind: 'large-community', name: 's', members: ['1:2:3'] })
  const wrong: DefinedSet[] = [
    prefixes(member('10.0.0.0/8', 7, 32)),
    prefixes(member('10.0.0.0/8', 24, 33)),
    prefixes(member('10.0.0.1/8', 8, 32)),
    prefixes(member('10.0.0.0/8', 32, 32), member('fd00::/8', 128, 128)),
    { kind: 'prefix', name: '', members: [] },
    { kind: 'neighbor', name: 's', members: ['10.0.0.1/24'] },
    { kind: 'neighbor', name: 's', members: ['tor1'] },
    { kind: 'community', name: 's', members: ['.*'] },
    { kind: 'large-community', name: 's', members: ['1:2'] },
  ]
  for (const set of wrong) t.throws(() => checkSet(set), { code: 'INVALID_POLICY' }, JSON.stringify(set))
})

t.test('policies', async (t) => {
  const good: PolicyStatement = { name: 'x', conditions: { routeType: 'local' }, action: 'accept' }
  const policy = (change: Partial<PolicyStatement>) => ({ name: 'p', statements: [{ ...good, ...change }] })
  checkPolicy(policy({ action: 'continue', changes: { med: { kind: 'add', value: -5 } } }))
  checkPolicy(policy({ changes: { nextHop: 'self', prepend: { asn: 65101, repeat: 3 }, localPref: 200 } }))
  const wrong: Partial<PolicyStatement>[] = [
    { name: '' },
    { action: 'continue' },
    { action: 'reject', changes: { localPref: 1 } },
    { conditions: { prefixSet: '' } },
    { conditions: { neighborSet: '' } },
    { conditions: { communitySet: { name: '', match: 'any' } } },
    { changes: { communities: { kind: 'add', communities: [] } } },
    { changes: { communities: { kind: 'add', communities: ['gshut'] } } },
    { changes: { largeCommunities: { kind: 'remove', communities: ['1:2'] } } },
    { changes: { med: { kind: 'set', value: -1 } } },
    { changes: { localPref: 0 } },
    { changes: { prepend: { asn: 65101, repeat: 0 } } },
    { changes: { nextHop: { address: '::' } } },
  ]
  for (const change of wrong)
    t.throws(() => checkPolicy(policy(change)), { code: 'INVALID_POLICY' }, JSON.stringify(change))
  t.throws(() => checkPolicy({ name: 'p', statements: [good, good] }), { code: 'INVALID_POLICY' })
  t.throws(() => checkPolicy({ name: '', statements: [good] }), { code: 'INVALID_POLICY' })
  t.throws(() => checkAssignment({ direction: 'export', policies: ['p', 'p'], defaultAction: 'reject' }), {
    code: 'INVALID_POLICY',
  })
})
