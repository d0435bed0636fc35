// Which absent kinds are asked for again, by what discovery says of their groups.

import t from 'tap'
import { AbsentKinds } from '../../../src/agent/absent-kinds.ts'
import { BGP_CLUSTER_CONFIGS, BGP_PEER_CONFIGS } from '../../../src/kube/cilium.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import { POLICY_RESOURCES } from '../../../src/kube/policies/resources.ts'
import { until } from '../kube/fake-server.ts'

const { ClusterNetworkPolicy, NetworkPolicy } = POLICY_RESOURCES
const ABSENT = [BGP_CLUSTER_CONFIGS, BGP_PEER_CONFIGS, NetworkPolicy]

/** Found after one look that asked for every group. */
async function foundBy(discover: (group: string) => Promise<readonly string[]>, pollMs = 1) {
  const asked: string[] = []
  const found = new Set<string>()
  const confirmed = new Set<string>()
  const kinds = new AbsentKinds({
    client: {
      discover: (group, version) => {
        asked.push(`${group}/${version}`)
        return discover(group)
      },
    },
    absent: () => (asked.length === 0 ? ABSENT : []),
    onFound: ({ plural }) => void found.add(plural),
    onConfirmed: ({ plural }) => void confirmed.add(plural),
    pollMs,
  })
  if (pollMs > 1) kinds.lookNow()
  await until('a look', () => asked.length === 2)
  await new Promise((resolve) => setImmediate(resolve))
  kinds.close()
  return { asked, found: [...found], confirmed: [...confirmed] }
}

t.test('one request for each group; what is there is found', async (t) => {
  const { asked, found } = await foundBy(async (group) =>
    group === BGP_PEER_CONFIGS.group ? [BGP_PEER_CONFIGS.plural, 'others'] : [],
  )
  t.same(asked, ['cilium.io/v2', `${NetworkPolicy.group}/${NetworkPolicy.version}`])
  t.same(found, [BGP_PEER_CONFIGS.plural])
})

t.test('where discovery fails, the kinds themselves are asked for', async (t) => {
  const { found } = await foundBy(async (group) => {
    if (group === BGP_PEER_CONFIGS.group) throw new KubeError('forbidden', 'not you')
    return []
  })
  t.same(found, [BGP_CLUSTER_CONFIGS.plural, BGP_PEER_CONFIGS.plural])
})

t.test('who does not wait for the next look', async (t) => {
  const { found, confirmed } = await foundBy(async (group) => {
    if (group === BGP_PEER_CONFIGS.group) return [BGP_PEER_CONFIGS.plural]
    throw new KubeError('unreachable', 'not now')
  }, 600_000)
  t.same(confirmed, [BGP_CLUSTER_CONFIGS.plural], 'not what nobody could be asked about')
  t.same(found, [BGP_PEER_CONFIGS.plural, NetworkPolicy.plural])
})

t.test('where nobody may ask discovery, the answer for the kind itself counts', async (t) => {
  const { confirmed } = await foundBy(async () => {
    throw new KubeError('forbidden', 'not you')
  })
  t.same(confirmed, [BGP_CLUSTER_CONFIGS.plural, BGP_PEER_CONFIGS.plural, NetworkPolicy.plural])
})

t.test('of the versions that are served the best that is read here', async (t) => {
  /** @param served version → whether it has the kind; undefined: nobody may ask */
  const look = async (served: Readonly<Record<string, boolean>> | undefined, version = 'v1beta1') => {
    const said: string[] = []
    const kinds = new AbsentKinds({
      client: {
        discover: async (_group, asked) => {
          if (served === undefined) throw new KubeError('forbidden', 'not you')
          if (asked === undefined) return Object.keys(served)
          return served[asked] ? [ClusterNetworkPolicy.plural, 'others'] : ['others']
        },
      },
      absent: () => [{ ...ClusterNetworkPolicy, version }],
      onFound: (found) => void said.push(`found ${found.version}`),
      onConfirmed: () => void said.push('absent'),
      onUnreadable: (_kind, versions) => void said.push(`unreadable: ${versions.join(' ')}`),
      pollMs: 1,
    })
    // What is said together is said at once.
    await until('a look', () => said.length > 0)
    kinds.close()
    return [...new Set(said)].join(' ')
  }
  t.equal(await look({ v1alpha1: false, v1alpha2: true, v1beta1: true }), 'found v1beta1')
  t.equal(await look({ v1alpha1: false, v1alpha2: true }), 'found v1alpha2')
  t.equal(await look({ v1: true, v1alpha2: true, v1alpha1: false }), 'found v1alpha2')
  t.equal(await look({ v1: true, v1alpha1: false, v2: true }), 'unreadable: v1 v2')
  t.equal(await look({ v1alpha1: false }), 'absent', 'of the group others alone')
  t.equal(await look({}), 'absent')
  t.equal(await look(undefined), 'found v1alpha2', 'who may not ask discovery tries them in turn')
  t.equal(await look(undefined, 'v1alpha2'), 'found v1beta1 absent', 'and knows after the last')
})

t.test('who finds a kind absent again and again waits for the next look in the end', async (t) => {
  let looks = 0
  const kinds: AbsentKinds = new AbsentKinds({
    client: {
      discover: async () => {
        looks += 1
        return []
      },
    },
    absent: () => [NetworkPolicy],
    onFound: () => {},
    onConfirmed: () => kinds.lookNow(),
    pollMs: 600_000,
  })
  kinds.lookNow()
  await until('some looks', () => looks >= 4)
  await new Promise((resolve) => setTimeout(resolve, 200))
  kinds.close()
  t.ok(looks < 20, `${looks}`)
})
