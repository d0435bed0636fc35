// Conditions on Cilium's BGP kinds: what they say, and that what is said already is not said again.

import t from 'tap'
import type { CiliumClusterConfig, CiliumCondition, CiliumPeerConfig } from '../../../../src/model/cilium.ts'
import { toSelector } from '../../../../src/model/label-selector.ts'
import { wantedConditions } from '../../../../src/routing/sources/cilium-conditions.ts'
import { node } from './rows.ts'

const common = { uid: '', generation: 3, createdMs: 0, conditions: [] as readonly CiliumCondition[] }

function cluster(
  name: string,
  rack: string,
  peerConfig: string,
  overrides: Partial<CiliumClusterConfig> = {},
): CiliumClusterConfig {
  const peer = { name: 'tor', address: '10.0.0.1', asn: 1, autoDiscovery: undefined, peerConfig }
  return {
    ...common,
    name,
    nodeSelector: toSelector({ matchLabels: { rack } }),
    instances: [{ name: 'main', localAsn: 65_100, localPort: undefined, peers: [peer] }],
    ...overrides,
  }
}

function peerConfig(name: string, overrides: Partial<CiliumPeerConfig> = {}): CiliumPeerConfig {
  return {
    ...common,
    name,
    port: 179,
    sourceInterface: undefined,
    connectRetrySeconds: 120,
    holdSeconds: 90,
    keepaliveSeconds: 30,
    authSecret: undefined,
    restartSeconds: undefined,
    multihop: 1,
    families: [],
    ...overrides,
  }
}

interface Given {
  readonly clusters?: readonly CiliumClusterConfig[]
  readonly peers?: readonly CiliumPeerConfig[]
  readonly secrets?: Readonly<Record<string, boolean>>
}

function said({ clusters = [], peers = [], secrets = {} }: Given) {
  const objects = { clusterConfigs: clusters, peerConfigs: peers, advertisements: [], overrides: [] }
  const nodes = [node(1, { labels: { rack: 'a' } }), node(2, { labels: { rack: 'b' } })]
  return wantedConditions({ objects, nodes, hasSecret: (name) => secrets[name], now: '2026-01-01T00:00:00Z' })
}

/** `name: types that are true`. */
function trueOnes(given: Given): string[] {
  return said(given).map(
    ({ name, conditions }) =>
      `${name}: ${conditions
        .filter(({ status }) => status === 'True')
        .map(({ type, message }) => `${type} ${message}`)
        .join()}`,
  )
}

t.test('what is wrong with a cluster config', async (t) => {
  const tor = peerConfig('tor')
  t.strictSame(trueOnes({ clusters: [cluster('x', 'a', 'tor')], peers: [tor] }), ['x: ', 'tor: '])
  t.match(trueOnes({ clusters: [cluster('x', 'c', 'tor')], peers: [tor] }), [
    /x: cilium\.io\/NoMatchingNode No node/,
  ])
  t.match(trueOnes({ clusters: [cluster('x', 'a', 'rot')], peers: [tor] }), [
    /x: cilium\.io\/MissingPeerConfigs .*missing: rot$/,
  ])
  t.match(trueOnes({ clusters: [cluster('x', 'a', 'tor'), cluster('y', 'a', 'tor')], peers: [tor] }), [
    /x: cilium\.io\/ConflictingClusterConfig .* y /,
    /y: cilium\.io\/ConflictingClusterConfig .* x /,
  ])
})

t.test('a Secret that is missing, there, or unheard of', async (t) => {
  const tor = peerConfig('tor', { authSecret: 's' })
  t.match(trueOnes({ peers: [tor], secrets: { s: false } }), [/tor: cilium\.io\/MissingAuthSecret .*'s'/])
  t.strictSame(trueOnes({ peers: [tor], secrets: { s: true } }), ['tor: '])
  t.strictSame(said({ peers: [tor] }), [])
})

t.test('what is said already is not said again; a status that stays keeps its time', async (t) => {
  const [first] = said({ peers: [peerConfig('tor')] })
  t.strictSame(first?.conditions, [
    {
      type: 'cilium.io/MissingAuthSecret',
      status: 'False',
      reason: 'MissingAuthSecret',
      message: '',
      observedGeneration: 3,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    },
  ])
  const earlier = (first?.conditions ?? []).map((one) => ({
    ...one,
    lastTransitionTime: '2025-01-01T00:00:00Z',
  }))
  t.strictSame(said({ peers: [peerConfig('tor', { conditions: earlier })] }), [])
  t.match(said({ peers: [peerConfig('tor', { conditions: earlier, generation: 4 })] }), [
    { conditions: [{ observedGeneration: 4, lastTransitionTime: '2025-01-01T00:00:00Z' }] },
  ])
})
