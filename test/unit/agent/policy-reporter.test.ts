// What users are told of policies that are not followed: by the leader alone, a condition where the kind has one, Events that name field
// and mend, each once for every change.

import t, { type Test } from 'tap'
import { PolicyReporter } from '../../../src/agent/policy-reporter.ts'
import { POLICY_RESOURCES, toPolicyObject } from '../../../src/kube/policies/resources.ts'
import type { PolicyKind } from '../../../src/model/policy.ts'
import { tables } from './policy-world-tables.ts'

const L7 = {
  endpointSelector: {},
  ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{}] } }] }],
}

function bed(t: Test) {
  const { objects, networkGroups } = tables().policy
  const patches: {
    name: string
    status: { conditions: { type: string; status: string; message: string }[] }
  }[] = []
  const events: string[] = []
  const versions = new Set<string>()
  const state: { isLeader: boolean; isSynced: boolean; versions?: { version: string } } = {
    isLeader: true,
    isSynced: true,
  }
  const reporter = new PolicyReporter({
    client: {
      patch: async (resource, path, patch, options) => {
        const { status, apiVersion } = patch as (typeof patches)[number] & { apiVersion: string }
        t.equal(apiVersion, `${resource.group}/${resource.version}`)
        versions.add(apiVersion)
        t.match([path.subresource, options], ['status', { kind: 'apply', fieldManager: 'weir', force: true }])
        patches.push({ name: path.name ?? '', status })
        return {} as never
      },
    },
    sources: {
      objects,
      networkGroups,
      resourceOf: (kind) => ({ ...POLICY_RESOURCES[kind], ...state.versions }),
      get isSynced() {
        return state.isSynced
      },
    },
    events: {
      record: ({ kind, namespace, name }, _type, reason, message) => {
        events.push(`${kind} ${namespace}/${name} ${reason} ${message}`)
      },
    },
    isLeader: () => state.isLeader,
    log: {
      warn: () => {
        t.fail('warned')
      },
    },
  })
  t.teardown(() => reporter.close())
  const put = (kind: PolicyKind, name: string, spec: object, more: object = {}) => {
    const namespaced = kind === 'NetworkPolicy' || kind === 'CiliumNetworkPolicy'
    const object = toPolicyObject(kind, {
      metadata: { name, ...(namespaced ? { namespace: 'shop' } : {}), ...more },
      ...{ spec },
    })
    objects[kind].set(object.key, object)
  }
  return { objects, networkGroups, patches, events, versions, state, reporter, put }
}

t.test('a refused one: condition and Event, once', async (t) => {
  const { patches, events, state, reporter, put, objects } = bed(t)
  put('CiliumNetworkPolicy', 'l7', L7)
  state.isLeader = false
  await reporter.look()
  t.same([patches, events], [[], []], 'another agent tells')
  state.isLeader = true
  await reporter.look()
  t.match(patches, [{ name: 'l7', status: { conditions: [{ type: 'Valid', status: 'False' }] } }])
  t.match(
    patches[0]?.status.conditions[0]?.message,
    /^spec\.ingress\[0\]\.toPorts\[0\]\.rules: .* Mend: .*allows nothing/,
  )
  t.equal(events.length, 1)
  t.match(
    events[0],
    /^CiliumNetworkPolicy shop\/l7 PolicyNotFollowed spec\.ingress\[0\]\.toPorts\[0\]\.rules: /,
  )
  const held = objects.CiliumNetworkPolicy.get('shop/l7')
  const {
    type: _type,
    status,
    message,
  } = patches[0]?.status.conditions[0] ?? { type: '', status: '', message: '' }
  if (held)
    objects.CiliumNetworkPolicy.set('shop/l7', {
      ...held,
      condition: { status: status as 'False', reason: 'NotFollowed', message },
    })
  await reporter.look()
  t.equal(patches.length, 1, 'it stands there')
  put('CiliumNetworkPolicy', 'l7', { endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }] })
  await reporter.look()
  t.match(patches[1]?.status.conditions, [{ type: 'Valid', status: 'True' }], 'mended')
})

t.test("NetworkPolicy's status is nobody's; annotations that say nothing known are told", async (t) => {
  const { patches, events, reporter, put } = bed(t)
  const annotations = { 'weir.network/policy-mode': 'audti', 'weir.network/policy-mod': 'audit' }
  put('NetworkPolicy', 'web', { podSelector: {}, nonsense: true }, { annotations })
  await reporter.look()
  await reporter.look()
  t.same(patches, [])
  t.match(events, [
    /^NetworkPolicy shop\/web PolicyNotFollowed spec\.nonsense: .*allows nothing/,
    /^NetworkPolicy shop\/web InvalidValue metadata\.annotations\['weir\.network\/policy-mode'\]: "audti"/,
    /^NetworkPolicy shop\/web InvalidValue .*policy-mod'\]: "audit" is not followed: .*did you mean 'weir\.network\/policy-mode'/,
  ])
})

t.test('cluster-wide kinds: their Events lie in the default namespace', async (t) => {
  const { patches, events, versions, state, reporter, put } = bed(t)
  state.versions = { version: 'v1alpha2' }
  put('CiliumClusterwideNetworkPolicy', 'host', { nodeSelector: {}, ingress: [{}], nonsense: 1 })
  put('ClusterNetworkPolicy', 'guard', { tier: 'Admin', priority: 5000, subject: { namespaces: {} } })
  await reporter.look()
  t.ok(versions.has('policy.networking.k8s.io/v1alpha2'), 'in the version that is followed')
  t.match(
    patches.map(({ name, status }) => [name, status.conditions[0]?.type, status.conditions[0]?.status]),
    [
      ['guard', 'Accepted', 'False'],
      ['host', 'Valid', 'False'],
    ],
  )
  t.match(events, [
    /^ClusterNetworkPolicy default\/guard /,
    /^CiliumClusterwideNetworkPolicy default\/host .*allows nothing/,
  ])
})

t.test('a deny of lists that are not there: told until they are, in condition and Event', async (t) => {
  const { networkGroups, patches, events, state, reporter, put } = bed(t)
  const sets = [{ cidrGroupRef: 'bad' }, { cidrGroupSelector: {} }]
  put('CiliumClusterwideNetworkPolicy', 'block', {
    endpointSelector: {},
    ingressDeny: [{ fromCIDRSet: sets }],
    egress: [{ toCIDRSet: [{ cidrGroupRef: 'good' }] }],
  })
  state.isSynced = false
  await reporter.look()
  t.same(events, [], 'not listed yet')
  state.isSynced = true
  await reporter.look()
  await reporter.look()
  t.equal(events.length, 1)
  t.match(
    events[0],
    /PolicyNotFollowed spec\.ingressDeny\[0\]: there is no CiliumCIDRGroup bad \(cilium\.io\/v2 or v2alpha1\), so this rule denies every address outside\. Mend: create it .*no CiliumCIDRGroup \(cilium\.io\/v2 or v2alpha1\) at all/,
  )
  const last = () => patches.at(-1)?.status.conditions[0]
  t.match(last(), { type: 'Valid', status: 'False', message: /so this rule denies every address outside/ })
  t.notMatch(last()?.message, /allows nothing/)
  networkGroups.set('bad', { name: 'bad', labels: {}, prefixes: [], isBroken: true })
  await reporter.look()
  t.match(events[1], /CiliumCIDRGroup bad holds what is no network/)
  networkGroups.set('bad', { name: 'bad', labels: {}, prefixes: [] })
  await reporter.look()
  t.match(last(), { status: 'True' })
  t.equal(events.length, 2)
})

t.test('whom a broken selector closes is told as it is', async (t) => {
  const { events, reporter, put } = bed(t)
  put('CiliumClusterwideNetworkPolicy', 'x', {
    endpointSelector: { matchLabels: { a: 'b' }, nonsense: 1 },
    ingressDeny: [{ fromEntities: ['world'] }],
  })
  const head = { tier: 'Admin', priority: 1, subject: { nonsense: {} } }
  put('ClusterNetworkPolicy', 'y', { ...head, ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }] })
  put('CiliumClusterwideNetworkPolicy', 'z', null as never)
  await reporter.look()
  t.match(
    events.filter((event) => event.includes(' default/x ')),
    [
      /allows nothing in the directions it names, for every pod or node that the readable part of its selector selects/,
    ],
  )
  for (const event of events.filter((one) => one.includes(' default/y ')))
    t.match(
      event,
      /its Accept rules match nobody, its Deny and Pass rules deny whom they name, and its subject is every pod that/,
    )
  t.match(
    events.filter((event) => event.includes(' default/z ')),
    [/spec: is missing.*closes nobody: it names no direction/],
  )
})
