// Policy's objects at an API server that enforces roles: kinds that it lacks hold nothing up and are followed when they come; one that the
// role does not grant is told of, and keeps policy alone waiting.

import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { clusterNetworkPolicyCrd, POLICY_CRDS } from '../../../bench/control/open-crds.ts'
import { PolicySources } from '../../../src/agent/policy-sources.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import type { Resource } from '../../../src/kube/objects.ts'
import { builtinKinds } from '../../../src/sandbox/apiserver/kinds/index.ts'
import { until } from '../kube/fake-server.ts'
import { removeCertificates } from '../sandbox/apiserver/test-server.ts'
import { agentAt } from './agent-at.ts'

const WAIT_MS = 15_000
const log = pino({ level: 'silent' })
const common = { nodeName: 'n1', events: { record: () => {} }, log, startDelayMs: 0 }
const POLICIES = '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies'
const CILIUM = '/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies'
const CILIUM_WEB = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'web' },
  spec: { endpointSelector: {}, ingress: [{}] },
}

t.teardown(removeCertificates)

t.test('kinds that are absent, and come', async (t) => {
  const { server, client } = await agentAt(t, builtinKinds)
  const { client: admin } = server.server
  await admin.request('POST', POLICIES, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny' },
    spec: { podSelector: {} },
  })
  const sources = new PolicySources({ ...common, client, pollMs: 50 })
  t.teardown(() => sources.close())
  await sources.synced
  t.match(sources.objects.NetworkPolicy.get('default/deny')?.policies, [
    { kind: 'NetworkPolicy', ingress: { isolates: true } },
  ])
  t.ok(sources.namespaces.get('default'))
  t.match(sources.describe(), { ciliumnetworkpolicies: { phase: 'absent', rows: 0 }, allPods: { rows: 0 } })
  for (const crd of POLICY_CRDS)
    await admin.request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const create = async () => (await admin.request('POST', CILIUM, CILIUM_WEB)).status
  await until('the kind to be served', async () => (await create()) < 300, WAIT_MS)
  await until(
    'the object',
    () => sources.objects.CiliumNetworkPolicy.get('default/web') !== undefined,
    WAIT_MS,
  )
  t.same(client.lacking(), [])
})

t.test('a server that has just begun and does not serve a kind yet', async (t) => {
  const { server, client } = await agentAt(t, builtinKinds)
  const { client: admin } = server.server
  for (const crd of POLICY_CRDS)
    await admin.request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const create = async () => (await admin.request('POST', CILIUM, CILIUM_WEB)).status
  await until('the kind to be served', async () => (await create()) < 300, WAIT_MS)
  let isServed = false
  let refusals = 0
  const early = new Proxy(client, {
    get:
      (target, name: keyof KubeClient) =>
      (...args: unknown[]) => {
        const [asked] = args as [Resource | undefined]
        if (name !== 'discover' && asked?.kind === 'CiliumNetworkPolicy' && !isServed) {
          refusals += 1
          return Promise.reject(new KubeError('not-found', 'page not found', { status: 404 }))
        }
        return (target[name] as (...args: unknown[]) => unknown).apply(target, args)
      },
  })
  const sources = new PolicySources({ ...common, client: early, pollMs: 20, patienceMs: 100 })
  t.teardown(() => sources.close())
  let isSynced = false
  const synced = sources.synced.then(() => {
    isSynced = true
  })
  await until('it to be asked for again, as discovery knows it', () => refusals >= 4, WAIT_MS)
  t.notOk(isSynced, 'its rows in force stay')
  await sources.answered
  t.match(sources.problems, [/does not list ciliumnetworkpolicies\.cilium\.io: .* It says: page not found/])
  t.notOk(isSynced, 'and others wait no longer')
  isServed = true
  await synced
  t.same(sources.problems, [])
  t.ok(sources.objects.CiliumNetworkPolicy.get('default/web'))
})

t.test('kinds that may not be read: told of, and policy alone waits', async (t) => {
  const { server, client, takeAway, giveBack } = await agentAt(t, builtinKinds)
  for (const crd of POLICY_CRDS)
    await server.server.client.request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  // One that may lack in a cluster, and one that every cluster has.
  await takeAway('clusternetworkpolicies')
  await takeAway('namespaces')
  const told: string[] = []
  const sources = new PolicySources({
    ...{ client, nodeName: 'n1', log, startDelayMs: 0, forbiddenRetryMs: 100 },
    events: {
      record: (about, _type, reason, message) => void told.push(`${about.name} ${reason} ${message}`),
    },
  })
  t.teardown(() => sources.close())
  await sources.answered
  await sleep(300)
  t.notOk(sources.isSynced)
  t.strictSame(
    [...told].sort(),
    ['clusternetworkpolicies.policy.networking.k8s.io', 'namespaces'].map(
      (what) =>
        `n1 PolicyNotReadable n1: the agents' role does not grant list and watch of ${what}: until it does, pods go on by the policies that this node’s kernel holds; others are closed, on a node that has held policy since it booted all of them, else those whose device carries Weir’s programs. Mend: apply the manifests' ClusterRole (manifests/base/rbac.yaml)`,
    ),
    'once each',
  )
  t.equal(sources.problems.length, 2)
  await giveBack()
  await sources.synced
  t.ok(sources.isSynced)
  t.ok(sources.namespaces.get('default'))
  t.same(sources.problems, [])
})

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const CLUSTER_CRD = `${CRDS}/clusternetworkpolicies.policy.networking.k8s.io`

t.test('versions of a kind: the best that is read here, and none', async (t) => {
  const { server, client } = await agentAt(t, builtinKinds)
  const { client: admin } = server.server
  const put = async (versions: Parameters<typeof clusterNetworkPolicyCrd>[0]) => {
    const { body } = await admin.request<{ metadata: object }>('GET', CLUSTER_CRD)
    const crd = clusterNetworkPolicyCrd(versions)
    return await admin.request('PUT', CLUSTER_CRD, { ...crd, metadata: { ...body.metadata } })
  }
  const create = async (version: string, name: string) => {
    const path = `/apis/policy.networking.k8s.io/${version}/clusternetworkpolicies`
    const spec = { tier: 'Admin', priority: 1, subject: { namespaces: {} } }
    const object = { apiVersion: `policy.networking.k8s.io/${version}`, kind: 'ClusterNetworkPolicy' }
    return (await admin.request('POST', path, { ...object, metadata: { name }, spec })).status
  }
  /** Of v1beta1, which cannot be listed at first. */
  let refusals = 0
  let isConverted = true
  const failing = new Proxy(client, {
    get:
      (target, name: keyof KubeClient) =>
      async (...args: unknown[]) => {
        const [asked] = args as [Resource | undefined]
        if (!isConverted && name !== 'discover' && asked?.version === 'v1beta1') {
          refusals += 1
          throw new KubeError('server-error', 'conversion webhook failed', { status: 500 })
        }
        return await (target[name] as (...args: unknown[]) => unknown).apply(target, args)
      },
  })
  await admin.request('POST', CRDS, clusterNetworkPolicyCrd(['v1']))
  await until('v1 to be served', async () => (await create('v1', 'a')) < 300, WAIT_MS)
  const told: string[] = []
  const sources = new PolicySources({
    ...{ client: failing, nodeName: 'n1', log, startDelayMs: 0, pollMs: 30 },
    events: { record: (_about, _type, reason, message) => void told.push(`${reason} ${message}`) },
  })
  t.teardown(() => sources.close())
  await sources.answered
  await sleep(200)
  t.notOk(sources.isSynced, 'nobody knows what it says')
  t.match(told, [
    /^PolicyNotReadable n1: the API server serves clusternetworkpolicies\.policy\.networking\.k8s\.io in no version that this Weir reads \(v1beta1 or v1alpha2, not v1\): until it does, .*others are closed, .* Mend: /,
  ])
  t.match(sources.describe(), { clusternetworkpolicies: { phase: 'unreadable' } })
  t.equal(sources.problems.length, 1)
  await put(['v1alpha2', 'v1'])
  await sources.synced
  t.same(sources.problems, [])
  t.equal(sources.resourceOf('ClusterNetworkPolicy').version, 'v1alpha2')
  await until('the object', () => sources.objects.ClusterNetworkPolicy.get('a') !== undefined, WAIT_MS)
  t.ok((await create('v1alpha2', 'c')) < 300)
  await until('another', () => sources.objects.ClusterNetworkPolicy.get('c') !== undefined, WAIT_MS)
  // A better one comes beside it, and takes its place once it can be listed.
  isConverted = false
  await put(['v1alpha2', 'v1beta1'])
  const version = () => sources.resourceOf('ClusterNetworkPolicy').version
  await until('the better version to be asked for', () => refusals > 1, WAIT_MS)
  t.equal(version(), 'v1alpha2')
  t.ok((await create('v1alpha2', 'd')) < 300)
  await until(
    'what comes meanwhile',
    () => sources.objects.ClusterNetworkPolicy.get('d') !== undefined,
    WAIT_MS,
  )
  await admin.request('DELETE', '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies/c')
  await until('it to be gone', () => sources.objects.ClusterNetworkPolicy.get('c') === undefined, WAIT_MS)
  isConverted = true
  await until('the better version', () => version() === 'v1beta1', WAIT_MS)
  t.ok(sources.objects.ClusterNetworkPolicy.get('d'))
  t.ok((await create('v1beta1', 'b')) < 300)
  await until('it to be followed', () => sources.objects.ClusterNetworkPolicy.get('b') !== undefined, WAIT_MS)
  t.ok(sources.objects.ClusterNetworkPolicy.get('a'))
})

t.test('where nobody may ask discovery, versions of a kind that is not there are tried seldom', async (t) => {
  const { client } = await agentAt(t, builtinKinds)
  let requests = 0
  const refusing = new Proxy(client, {
    get:
      (target, name: keyof KubeClient) =>
      (...args: unknown[]) => {
        const [asked] = args as [Resource | undefined]
        if (name === 'discover') return Promise.reject(new KubeError('forbidden', 'not you', { status: 403 }))
        if (asked?.kind === 'ClusterNetworkPolicy') requests += 1
        return (target[name] as (...args: unknown[]) => unknown).apply(target, args)
      },
  })
  const sources = new PolicySources({ ...common, client: refusing, pollMs: 200 })
  t.teardown(() => sources.close())
  await sources.synced
  requests = 0
  await sleep(800)
  t.ok(requests > 0 && requests <= 8, `${requests} requests in four polls`)
  t.match(sources.describe(), { clusternetworkpolicies: { phase: 'absent' } })
})

t.test('a kind about which the server says nothing of use: policy alone waits, and it is told', async (t) => {
  const { client } = await agentAt(t, builtinKinds)
  const state = { isBroken: true }
  const cut = new AbortController()
  const broken = new Proxy(client, {
    get:
      (target, name: keyof KubeClient) =>
      (...args: unknown[]) => {
        const [asked] = args as [Resource | undefined]
        const isMeant = name !== 'discover' && asked?.kind === 'NetworkPolicy'
        if (isMeant && state.isBroken)
          return Promise.reject(new KubeError('server-error', 'conversion failed', { status: 500 }))
        if (isMeant && name === 'watch' && !cut.signal.aborted)
          args[2] = AbortSignal.any([args[2] as AbortSignal, cut.signal])
        return (target[name] as (...args: unknown[]) => unknown).apply(target, args)
      },
  })
  const told: string[] = []
  const sources = new PolicySources({
    ...{ client: broken, nodeName: 'n1', log, startDelayMs: 0, patienceMs: 200 },
    events: { record: (_about, _type, reason, message) => void told.push(`${reason} ${message}`) },
  })
  t.teardown(() => sources.close())
  await sources.answered
  t.notOk(sources.isSynced)
  t.match(told, [
    /^PolicyNotReadable n1: the API server does not list networkpolicies\.networking\.k8s\.io: until it does, .*It says: conversion failed\. Mend: see to it that 'kubectl get networkpolicies/,
  ])
  t.same(sources.problems.length, 1)
  state.isBroken = false
  await sources.synced
  t.same(sources.problems, [])
  // So it is when it says nothing of use any more.
  state.isBroken = true
  cut.abort()
  await until('it to be told of', () => told.length > 1, WAIT_MS)
  t.match(
    told[1],
    /does not list networkpolicies\.networking\.k8s\.io: what was known of them stays in force/,
  )
  t.same(sources.problems.length, 1)
  t.ok(sources.isSynced)
  state.isBroken = false
  await until('it to be over', () => sources.problems.length === 0, WAIT_MS)
  t.equal(told.length, 2)
})
