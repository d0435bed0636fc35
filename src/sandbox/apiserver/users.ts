// Who asks: the holder of a bearer token, or of a certificate of our authority (common name: user, organisations: groups), or whom such
// a one speaks for (impersonation, as `kubectl --as` asks for it).

import type { TLSSocket } from 'node:tls'
import type { Authorizer } from './authorizer.ts'
import { badRequest, unauthorized } from './errors.ts'
import type { ApiRequest, User } from './request.ts'

const serviceAccountName = /^system:serviceaccount:([^:]+):([^:]+)$/

const serviceAccountGroups = (namespace: string): string[] => [
  'system:serviceaccounts',
  `system:serviceaccounts:${namespace}`,
  'system:authenticated',
]

/** The pods of a ServiceAccount, as a token of theirs names them. */
export const serviceAccountUser = (namespace: string, name: string): User => ({
  name: `system:serviceaccount:${namespace}:${name}`,
  uid: `${namespace}/${name}`,
  groups: serviceAccountGroups(namespace),
})

/** undefined: the client showed no certificate. One that our authority did not sign is refused. */
export const certificateUser = (socket: TLSSocket): User | undefined => {
  const { subject } = socket.getPeerCertificate()
  if (subject === undefined) return undefined
  const [name = ''] = listed(subject.CN)
  if (!socket.authorized || name === '') throw unauthorized()
  return { name, uid: name, groups: [...listed(subject.O), 'system:authenticated'] }
}

/** Of a part of a name that there may be several of. */
const listed = (part: string | string[] | undefined): readonly string[] =>
  typeof part === 'string' ? [part] : (part ?? [])

/** The user of the request, after the headers that speak for another, which must be granted (verb `impersonate`). */
export const effectiveUser = (request: ApiRequest, user: User, authorizer: Authorizer): User => {
  const name = request.headers['impersonate-user']
  const groups = (request.headers['impersonate-group'] ?? '').split(',').flatMap((one) => one.trim() || [])
  if (name === undefined || name === '') {
    if (groups.length > 0) throw badRequest('requested groups without impersonating a user')
    return user
  }
  const [, namespace, account] = serviceAccountName.exec(name) ?? []
  const may = (plural: string, one: string, inNamespace?: string): void =>
    authorizer.assert(user, {
      verb: 'impersonate',
      path: request.path,
      resource: { group: '', plural, name: one, namespace: inNamespace },
    })
  if (namespace === undefined || account === undefined) may('users', name)
  else may('serviceaccounts', account, namespace)
  for (const one of groups) may('groups', one)
  const implied = namespace === undefined ? ['system:authenticated'] : serviceAccountGroups(namespace)
  return { name, uid: '', groups: groups.length > 0 ? [...groups, 'system:authenticated'] : implied }
}
