// Keeps the EndpointSlices of Services with a selector. Slices of other managers (hand-written ones, mirrors) are never
// touched. A Service change, a pod change under any selector, and a node's zone cause a look at the Services concerned.

import { isKubeError } from '../../kube/errors.ts'
import type { EndpointSlice, Pod, Service } from '../../kube/objects.ts'
import { ENDPOINT_SLICES, keyOf } from '../../kube/objects.ts'
import { matchesLabels } from './objects.ts'
import { MANAGED_BY, MANAGED_BY_LABEL, planSlices, SERVICE_NAME_LABEL } from './slice-plan.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

export function createEndpointSlices(context: ControllerContext): Controller {
  const { stores } = context
  const queue = createWorkQueue({
    name: 'endpointslices',
    log: context.log,
    reconcile: (key) => reconcile(context, key),
  })
  const addSelecting = (pod: Pod) => {
    for (const service of stores.services.list(pod.metadata.namespace)) {
      if (hasSelector(service) && matchesLabels(service.spec.selector ?? {}, pod.metadata.labels))
        queue.add(keyOf(service))
    }
  }
  stores.services.subscribe((changes) => {
    for (const { key } of changes) queue.add(key)
  })
  stores.pods.subscribe((changes) => {
    for (const change of changes) {
      // The labels before count too: the pod may have left the Service.
      if ('previous' in change) addSelecting(change.previous)
      if ('row' in change) addSelecting(change.row)
    }
  })
  stores.endpointSlices.subscribe((changes) => {
    for (const change of changes) {
      const slice = change.type === 'delete' ? change.previous : change.row
      if (isOurs(slice))
        queue.add(`${slice.metadata.namespace}/${slice.metadata.labels?.[SERVICE_NAME_LABEL] ?? ''}`)
    }
  })
  return queue
}

function hasSelector(service: Service): boolean {
  return service.spec.type !== 'ExternalName' && Object.keys(service.spec.selector ?? {}).length > 0
}

function isOurs(slice: EndpointSlice): boolean {
  return slice.metadata.labels?.[MANAGED_BY_LABEL] === MANAGED_BY
}

async function reconcile({ client, stores }: ControllerContext, key: string): Promise<void> {
  const [namespace = '', name = ''] = key.split('/')
  const service = stores.services.get(key)
  if (service !== undefined && !hasSelector(service)) return
  const labelSelector = `${SERVICE_NAME_LABEL}=${name},${MANAGED_BY_LABEL}=${MANAGED_BY}`
  // Asked of the server, not of the store: a slice made a moment ago must not be made twice.
  const { items: existing } = await client.list(ENDPOINT_SLICES, { namespace, labelSelector })
  if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
    for (const slice of existing) await remove(client, slice)
    return
  }
  const nodes = new Map(stores.nodes.list().map((node) => [node.metadata.name ?? '', node]))
  const changes = planSlices(service, stores.pods.list(namespace), nodes, existing)
  for (const slice of changes.create) await client.create(ENDPOINT_SLICES, slice)
  for (const slice of changes.update) await client.update(ENDPOINT_SLICES, slice)
  for (const slice of changes.delete) await remove(client, slice)
}

async function remove(client: ControllerContext['client'], slice: EndpointSlice): Promise<void> {
  await client.delete(ENDPOINT_SLICES, slice.metadata).catch((error: unknown) => {
    if (!isKubeError(error, 'not-found')) throw error
  })
}
