// What a rack's agents may do at its API server: what manifests/ grants to their ServiceAccount, and nothing else. So whatever runs in a
// rack runs with the roles that a cluster gets.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { isRecord, stringAt } from './apiserver/json.ts'
import { pathOfGroupVersion, type User } from './apiserver/request.ts'
import type { ApiServer } from './apiserver/server.ts'
import { serviceAccountUser } from './apiserver/users.ts'

const MANIFEST = fileURLToPath(new URL('../../manifests/base/rbac.yaml', import.meta.url))
const APPLY = { contentType: 'application/apply-patch+yaml' }
const FIELD_MANAGER = 'weir-rack'

/** As the pods of the agents' DaemonSet ask. */
export const AGENT_USER: User = serviceAccountUser('kube-system', 'weir')

/** Puts the roles of manifests/ into the API server; what was changed there goes back. */
export async function grantAgentAccess(server: Pick<ApiServer, 'client' | 'registry'>): Promise<void> {
  for (const document of parseAllDocuments(readFileSync(MANIFEST, 'utf8'))) {
    const object: unknown = document.toJS()
    if (isRecord(object)) await applyObject(server, object)
  }
}

async function applyObject(
  { client, registry }: Pick<ApiServer, 'client' | 'registry'>,
  object: Readonly<Record<string, unknown>>,
): Promise<void> {
  const [apiVersion, kindName] = [stringAt(object, 'apiVersion') ?? '', stringAt(object, 'kind') ?? '']
  const kind = registry.findKind(apiVersion, kindName)
  const name = stringAt(object, 'metadata', 'name') ?? ''
  if (!kind) throw new Error(`${MANIFEST}: ${kindName} ${name} is of no kind that this API server knows`)
  const scope = kind.namespaced ? `/namespaces/${stringAt(object, 'metadata', 'namespace') ?? 'default'}` : ''
  const path = `${pathOfGroupVersion(kind.group, kind.version)}${scope}/${kind.plural}/${name}`
  const query = `?fieldManager=${FIELD_MANAGER}&force=true`
  const { status, body } = await client.request('PATCH', path + query, object, APPLY)
  if (status > 201)
    throw new Error(`${MANIFEST}: ${kindName} ${name}: ${stringAt(body, 'message') ?? status}`)
}
