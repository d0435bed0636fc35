// Every namespace has its `default` service account, as the service account controller of Kubernetes keeps it.

import { isKubeError } from '../../kube/errors.ts'
import { SERVICE_ACCOUNTS } from '../../kube/objects.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

export function createServiceAccounts(context: ControllerContext): Controller {
  const { stores, client } = context
  const queue = createWorkQueue({
    name: 'serviceaccounts',
    log: context.log,
    reconcile: async (namespace) => {
      const owner = stores.namespaces.get(namespace)
      if (owner === undefined || owner.metadata.deletionTimestamp !== undefined) return
      const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name: 'default' } }
      await client.create(SERVICE_ACCOUNTS, account).catch((error: unknown) => {
        if (!isKubeError(error, 'already-exists', 'forbidden')) throw error
      })
    },
  })
  stores.namespaces.subscribe((changes) => {
    for (const change of changes) if (change.type === 'add') queue.add(change.key)
  })
  stores.serviceAccounts.subscribe((changes) => {
    for (const change of changes)
      if (change.type === 'delete') queue.add(change.previous.metadata.namespace ?? '')
  })
  return queue
}
