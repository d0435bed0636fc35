// Whether an incoming object is the one its request is about: name, namespace, uid, and the state it was made from. Fills in what a
// client may leave out, in place.

import { badRequest, conflict, invalid, type StatusError } from './errors.ts'
import type { KindDefinition, KubeObject } from './kind.ts'

/** Puts a new object where the request's path says. */
export const placeInNamespace = (
  kind: KindDefinition,
  namespace: string | undefined,
  object: KubeObject,
): void => {
  if (!kind.namespaced) {
    delete object.metadata.namespace
    return
  }
  if (namespace === undefined) throw badRequest('an empty namespace may not be set during creation')
  const own = object.metadata.namespace
  if (own !== undefined && own !== '' && own !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
  }
  object.metadata.namespace = namespace
}

/** Holds a changed object against the stored one: same name, namespace and uid, and not made from an older state. */
export const checkIdentity = (kind: KindDefinition, incoming: KubeObject, previous: KubeObject): void => {
  const { metadata } = incoming
  const name = previous.metadata.name ?? ''
  metadata.name ??= name
  if (metadata.name !== name) throw nameMismatch(metadata.name, name)
  if (kind.namespaced) metadata.namespace ??= previous.metadata.namespace ?? ''
  else delete metadata.namespace
  if (metadata.namespace !== previous.metadata.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
  }
  if (metadata.uid !== undefined && metadata.uid !== '' && metadata.uid !== previous.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${previous.metadata.uid}`
    throw conflict(kind, name, why)
  }
  const version = metadata.resourceVersion
  if (kind.isCustom === true && !version) {
    const message = 'Invalid value: 0: must be specified for an update'
    throw invalid(kind, name, [{ field: 'metadata.resourceVersion', reason: 'FieldValueInvalid', message }])
  }
  if (version && version !== '0' && version !== previous.metadata.resourceVersion) throw conflict(kind, name)
}

export const nameMismatch = (own: string, asked: string): StatusError =>
  badRequest(`the name of the object (${own}) does not match the name on the URL (${asked})`)
