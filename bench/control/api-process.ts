// The embedded API server of the benchmark, in a process of its own: filled with a cluster, then told what to change.
//
//   node bench/control/api-process.ts JSON        { size, policy, directory, port }
//
// Messages in: { change: [{ service, endpoint, ready }, …] }, { patch: { path, patch } } or { request: { method, path, body } }. Out:
// { ready: true } once it listens, and for each message the times (nanoseconds of the monotonic clock, as text) at which each change was
// given out to watches, in order; of a patch, when its request began.

import { ensureCertificates, ensureToken } from '../../src/sandbox/apiserver/certificates.ts'
import { createApiServer } from '../../src/sandbox/apiserver/server.ts'
import { builtInApi } from '../../src/sandbox/built-in-api.ts'
import {
  CLUSTER_POLICIES,
  CLUSTER_POLICIES_PATH,
  clusterPolicyObject,
  type PolicyClusterSize,
  policyObjects,
} from '../policy/objects.ts'
import { type ClusterSize, clusterContent, serviceName, sliceOf } from './cluster.ts'
import { POLICY_CRDS } from './open-crds.ts'

export interface ApiProcessOptions {
  readonly size: ClusterSize
  /** Pods and policies besides. */
  readonly policy?: PolicyClusterSize
  readonly directory: string
  readonly port: number
}

export interface EndpointChange {
  readonly service: number
  readonly endpoint: number
  readonly ready: boolean
}

/** A JSON patch of one object. */
export interface ObjectPatch {
  readonly path: string
  readonly patch: readonly object[]
}

/** Anything else. */
export interface ObjectRequest {
  /** PATCH: the body is a JSON patch. */
  readonly method: 'POST' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: object
}

interface Orders {
  readonly change?: readonly EndpointChange[]
  readonly patch?: ObjectPatch
  readonly request?: ObjectRequest
}

const JSON_PATCH = { contentType: 'application/json-patch+json' }
const DONE = { POST: 201, PATCH: 200, DELETE: 200 } as const
const SLICES = '/apis/discovery.k8s.io/v1'
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

async function main({ size, policy, directory, port }: ApiProcessOptions): Promise<void> {
  const tls = await ensureCertificates(`${directory}/tls`)
  const token = await ensureToken(`${directory}/token`)
  const user = { name: 'system:node:bench', uid: 'bench', groups: ['system:masters'] }
  const server = await createApiServer({
    ...builtInApi,
    tls,
    tokens: [{ token, user }],
    clusterIpRanges: ['10.96.0.0/12'],
  })
  server.storage.load(clusterContent(size, policy && policyObjects(policy)))
  let sentNs = 0n
  server.storage.subscribe(undefined, () => {
    sentNs = process.hrtime.bigint()
  })
  const ask = async ({ method, path, body }: ObjectRequest): Promise<string> => {
    const answer = await server.client.request(method, path, body, method === 'PATCH' ? JSON_PATCH : {})
    if (answer.status !== DONE[method])
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return String(sentNs)
  }
  if (policy) {
    for (const body of POLICY_CRDS) await ask({ method: 'POST', path: CRDS, body })
    for (let index = 0; index < CLUSTER_POLICIES; index += 1)
      await ask({ method: 'POST', path: CLUSTER_POLICIES_PATH, body: clusterPolicyObject(index) })
  }
  const apply = async ({ service, endpoint, ready }: EndpointChange): Promise<string> => {
    const { namespace } = serviceName(service)
    const { name, index } = sliceOf(service, endpoint)
    const path = `${SLICES}/namespaces/${namespace}/endpointslices/${name}`
    const body = [{ op: 'replace', path: `/endpoints/${index}/conditions/ready`, value: ready }]
    return await ask({ method: 'PATCH', path, body })
  }
  const write = async ({ path, patch }: ObjectPatch): Promise<string> => {
    const beganNs = process.hrtime.bigint()
    await ask({ method: 'PATCH', path, body: patch })
    return String(beganNs)
  }
  process.on('message', async ({ change, patch, request }: Orders) => {
    const sent: string[] = []
    for (const one of change ?? []) sent.push(await apply(one))
    if (patch) sent.push(await write(patch))
    if (request) sent.push(await ask(request))
    process.send?.({ sent })
  })
  // Whoever started it has gone: so does this.
  process.on('disconnect', () => process.exit(0))
  await server.listen({ host: '127.0.0.1', port })
  process.send?.({ ready: true })
}

await main(JSON.parse(process.argv[2] ?? '{}') as ApiProcessOptions)
