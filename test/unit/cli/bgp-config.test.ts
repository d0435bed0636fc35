// What `weir bgp diff` prints, and how it reads times.

import t from 'tap'
import { formatDiff, parseSeconds } from '../../../src/cli/bgp-config.ts'
import type { PeerChanges } from '../../../src/routing/diff.ts'

const NONE = { communities: [], largeCommunities: [], prepend: 0 }

const PEER: PeerChanges = {
  peer: 'tor1',
  remote: '10.0.0.1',
  asn: 65_001,
  session: 'changed',
  keys: ['timers'],
  routes: [
    {
      prefix: '10.0.9.0/24' as never,
      change: 'change',
      before: NONE,
      after: { ...NONE, med: 6, prepend: 2 },
      why: 'pods of this node',
    },
    {
      prefix: '203.0.113.7/32' as never,
      change: 'add',
      after: { ...NONE, communities: ['65535:65281'] },
      why: 'Service shop/web has 2 usable endpoints',
    },
    {
      prefix: '203.0.113.8/32' as never,
      change: 'withdraw',
      before: NONE,
      why: 'Service shop/api has 1 usable endpoint',
    },
  ],
}

t.test('a diff', async (t) => {
  const text = formatDiff({
    peers: [PEER],
    keys: ['drain'],
    problems: [{ source: 'routing.peers[1]', why: 'is ours' }],
  })
  t.equal(
    text,
    `tor1 (10.0.0.1, AS 65001): its session changes (timers)
  ~ 10.0.9.0/24     no attributes → med 6 prepend 2  pods of this node
  + 203.0.113.7/32  no-export                        Service shop/web has 2 usable endpoints
  - 203.0.113.8/32                                   Service shop/api has 1 usable endpoint

Of the node itself: drain

Not followed: routing.peers[1]: is ours
`,
  )
  t.equal(formatDiff({ peers: [], keys: [], problems: [] }), 'Nothing would change.\n')
})

t.test('times', async (t) => {
  t.strictSame(['60', '60s', '5m', '1h'].map(parseSeconds), [60, 60, 300, 3600])
  for (const text of ['', '0', '5d', '-1', '1.5m', 's'])
    t.throws(() => parseSeconds(text), { code: 'bad-usage' }, text)
})
