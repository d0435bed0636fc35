// The upstream end-to-end tests of NetworkPolicy in which something changes, as truth tables over all pairs of pods.

import t from 'tap'
import type { PolicyPod } from '../../../src/model/policy.ts'
import { blockedPairs, netpolWorld, pairsWhere, withPod } from './netpol-cluster.ts'
import { labels, namespaceNamed, networkPolicy, pods } from './rows.ts'

const is = (pod: PolicyPod, ...keys: string[]) => keys.includes(pod.key)
const inNamespaceX = namespaceNamed('x')
const toXa = (...peers: ReturnType<typeof pods>[]) =>
  networkPolicy('x/to-a', labels({ pod: 'a' }), { ingress: [{ peers }] })

t.test('what changes live: labels of pods and namespaces, policies, and their end', async (t) => {
  const fromTeam = toXa(pods({ namespaces: labels({ team: 'red' }) }))
  const before = netpolWorld([fromTeam])
  t.same(
    blockedPairs(before),
    pairsWhere(before, (_, to) => is(to, 'x/a')),
    'no namespace has the label',
  )
  const namespaces = new Map(before.namespaces)
  namespaces.set('y', { ...namespaces.get('y'), team: 'red' })
  const labelled = { ...before, namespaces }
  t.same(
    blockedPairs(labelled),
    pairsWhere(labelled, (from, to) => is(to, 'x/a') && from.namespace !== 'y'),
    'ingress access from updated namespace',
  )

  const byPodLabel = netpolWorld([
    toXa(pods({ namespaces: inNamespaceX, pods: labels({ pod2: 'updated' }) })),
  ])
  t.same(
    blockedPairs(byPodLabel),
    pairsWhere(byPodLabel, (_, to) => is(to, 'x/a')),
  )
  const updated = withPod(byPodLabel, 'x/b', { labels: { pod: 'b', pod2: 'updated' } })
  t.same(
    blockedPairs(updated),
    pairsWhere(updated, (from, to) => is(to, 'x/a') && !is(from, 'x/b')),
    'ingress access from updated pod',
  )

  const target = netpolWorld([networkPolicy('x/target', labels({ target: 'isolated' }), { ingress: [] })])
  t.same(blockedPairs(target), [])
  const isolated = withPod(target, 'x/a', { labels: { pod: 'a', target: 'isolated' } })
  t.same(
    blockedPairs(isolated),
    pairsWhere(isolated, (_, to) => is(to, 'x/a')),
    'deny ingress access to updated pod',
  )

  t.same(blockedPairs({ ...isolated, policies: [] }), [], 'stop enforcing policies after they are deleted')
  t.same(
    blockedPairs({
      ...isolated,
      policies: [networkPolicy('x/target', labels({ target: 'isolated' }), { ingress: [{}] })],
    }),
    [],
    'enforce updated policy',
  )
})
