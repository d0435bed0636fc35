// Nothing that gobgpd would misread gets past the client: each row is something gobgpd 3.10 answers OK to.

import t from 'tap'
import { parseAddress, parsePrefix } from '../../../bgp/client/prefix.ts'
import type { PeerSettings } from '../../../bgp/client/types.ts'
import {
  checkPath,
  checkPeer,
  checkPolicy,
  checkPrefixSet,
  parseCommunity,
} from '../../../bgp/client/validate.ts'

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
  const refused = [
    { prefix: '0.0.0.0/0' },
    { prefix: '::/0' },
    { prefix: '203.0.113.77/24' },
    { prefix: '203.0.113.9/32', nextHop: 'fd00::1' },
    { prefix: '203.0.113.9/32', nextHop: '0.0.0.0' },
    { prefix: '203.0.113.9/32', nextHop: '224.0.0.1' },
    { prefix: '2001:db8::7/128', nextHop: '10.0.0.1' },
    { prefix: '2001:db8::7/128', nextHop: '::ffff:10.0.0.1' },
    { prefix: '2001:db8::7/128', nextHop: 'ff02::1' },
    { prefix: '203.0.113.9/32', communities: ['65536:0'] },
    { prefix: '203.0.113.9/32', communities: ['no-export'] },
  ]
  for (const path of refused) t.throws(() => checkPath(path), { code: 'INVALID_PATH' }, JSON.stringify(path))
  t.equal(parseCommunity('65535:0'), 0xffff0000)
})

t.test('peers', async (t) => {
  const good: PeerSettings = {
    address: '10.0.0.1',
    asn: 65001,
    family: 'ipv4',
    port: 179,
    holdSeconds: 9,
    keepaliveSeconds: 3,
    connectRetrySeconds: 5,
  }
  checkPeer(good)
  const restart = { restartSeconds: 60, deferralSeconds: 1, localRestarting: true }
  const wrong: Partial<PeerSettings>[] = [
    { family: 'ipv6' },
    { asn: 0 },
    { localAddress: 'fd00::1' },
    { port: 0 },
    { holdSeconds: 2 },
    { keepaliveSeconds: 4 },
    { connectRetrySeconds: 4 },
    { gracefulRestart: { ...restart, restartSeconds: 4096 } },
    { gracefulRestart: { ...restart, deferralSeconds: 0 } },
  ]
  for (const change of wrong)
    t.throws(() => checkPeer({ ...good, ...change }), { code: 'INVALID_PEER' }, JSON.stringify(change))
})

t.test('policy', async (t) => {
  const member = (prefix: string, lengthMin: number, lengthMax: number) => ({ prefix, lengthMin, lengthMax })
  checkPrefixSet({ name: 's', members: [member('10.0.0.0/8', 8, 32)] })
  const sets = [[member('10.0.0.0/8', 7, 32)], [member('10.0.0.0/8', 24, 33)], [member('10.0.0.1/8', 8, 32)]]
  sets.push([member('10.0.0.0/8', 32, 32), member('fd00::/8', 128, 128)])
  for (const members of sets)
    t.throws(() => checkPrefixSet({ name: 's', members }), { code: 'INVALID_POLICY' })
  const statement = { name: 'x', localOnly: true, action: 'continue' } as const
  t.throws(() => checkPolicy({ name: 'p', statements: [statement] }), { code: 'INVALID_POLICY' })
  t.throws(
    () => checkPolicy({ name: 'p', statements: [{ ...statement, action: 'accept', prefixSet: '' }] }),
    { code: 'INVALID_POLICY' },
  )
})
