// Deploys the sample application with real kubectl and waits until it is served: pods ready, addresses given, routes in the
// routers. Idempotent.

import { fileURLToPath } from 'node:url'
import { runIn } from '../host.ts'
import type { Rack } from '../rack.ts'
import { waitUntil } from '../wait.ts'
import { askAgent, type ProofContext, type SampleService, urlOf } from './context.ts'

const MANIFESTS = fileURLToPath(new URL('../../../manifests/sample', import.meta.url))
/** So that whoever looks around has every kind of policy to try. */
const POLICY_CRDS = fileURLToPath(new URL('../../../manifests/policy-crds', import.meta.url))
const ROLLOUT_SECONDS = 60
const ADDRESS_MS = 20_000
const SERVED_MS = 20_000

interface ServiceObject {
  readonly spec: { readonly clusterIPs: readonly string[] }
  readonly status: { readonly loadBalancer: { readonly ingress?: readonly { readonly ip: string }[] } }
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string }
    readonly spec: { readonly nodeName: string }
  }[]
}

export async function deploySample(rack: Rack, kubectl: ProofContext['kubectl']): Promise<SampleService> {
  await kubectl('apply', '-f', POLICY_CRDS, '-f', MANIFESTS)
  await kubectl('rollout', 'status', 'deployment/web', `--timeout=${ROLLOUT_SECONDS}s`)
  await kubectl('wait', '--for=condition=Ready', 'pod/client', `--timeout=${ROLLOUT_SECONDS}s`)
  let service: ServiceObject | undefined
  await waitUntil('the load-balancer addresses of Service web', ADDRESS_MS, async () => {
    service = JSON.parse(await kubectl('get', 'service', 'web', '-o', 'json')) as ServiceObject
    return (service.status.loadBalancer.ingress ?? []).length >= 2
  })
  const vips = (service?.status.loadBalancer.ingress ?? []).map((entry) => entry.ip)
  const sample = { vips, clusterIps: service?.spec.clusterIPs ?? [], pods: await listPods(kubectl) }
  await waitUntil('every node to serve Service web', SERVED_MS, () => isServedEverywhere(rack, sample))
  return sample
}

export async function listPods(kubectl: ProofContext['kubectl']): Promise<SampleService['pods']> {
  const pods = JSON.parse(await kubectl('get', 'pods', '-l', 'app=web', '-o', 'json')) as PodList
  return pods.items
    .filter((pod) => pod.metadata.deletionTimestamp === undefined)
    .map((pod) => ({ name: pod.metadata.name, node: pod.spec.nodeName }))
}

interface AgentService {
  readonly service: string
  readonly held: readonly string[]
  readonly usable: { readonly anywhere: number }
}

/** Every agent holds the VIPs with all endpoints, and a first request is answered. */
async function isServedEverywhere(rack: Rack, sample: SampleService): Promise<boolean> {
  for (const node of rack.plan.nodes) {
    const services = await askAgent<AgentService[]>(rack, node.name, '/v1/services').catch(() => [])
    const web = services.find((row) => row.service === 'default/web')
    if (
      !web ||
      web.usable.anywhere < sample.pods.length ||
      !sample.vips.every((vip) => web.held.includes(vip))
    )
      return false
  }
  for (const vip of sample.vips) {
    const answer = await runIn(rack.host('client1'), [
      'curl',
      '-sf',
      '-m',
      '1',
      '-o',
      '/dev/null',
      urlOf(vip, '/hostname'),
    ])
    if (answer.status !== 0) return false
  }
  return true
}
