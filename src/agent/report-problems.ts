// Tells users what is wrong with their objects: as Events on the object, and in the log. Once per change of the object; the
// recorder itself drops repetitions.

import type { Logger } from 'pino'
import type { EventRecorder, InvolvedObject } from '../kube/events.ts'
import type { Address } from '../model/address.ts'
import type { EndpointSlice, ObjectKey, Service } from '../model/service.ts'

export interface Reporter {
  readonly events: Pick<EventRecorder, 'record'>
  readonly log: Pick<Logger, 'warn'>
}

/** `kubectl describe` lists the Events that name an object by its uid. */
export function serviceObject(key: ObjectKey, uid?: string): InvolvedObject {
  const [namespace = '', name = ''] = key.split('/')
  return { apiVersion: 'v1', kind: 'Service', namespace, name, ...(uid ? { uid } : {}) }
}

/** A Node has no namespace: its Events live in the default one. */
export function nodeObject(name: string): InvolvedObject {
  return { apiVersion: 'v1', kind: 'Node', namespace: 'default', name }
}

function sliceObject({ key, uid }: EndpointSlice): InvolvedObject {
  const [namespace = '', name = ''] = key.split('/')
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    namespace,
    name,
    ...(uid ? { uid } : {}),
  }
}

export function reportService({ key, uid, problems }: Service, { events, log }: Reporter): void {
  for (const { reason, what, why } of problems) {
    log.warn({ service: key, reason }, `${what} ${why}`)
    events.record(serviceObject(key, uid), 'Warning', reason, `${what} ${why}`)
  }
}

/** Whoever may write Services could take others' traffic by externalIPs; what is refused for it is told. */
export function reportRefusedExternals(
  { key, uid, externalIps }: Service,
  whyNot: (address: Address) => string | undefined,
  { events, log }: Reporter,
): void {
  for (const address of externalIps) {
    const why = whyNot(address)
    if (why === undefined) continue
    const message = `spec.externalIPs '${address}' is not served: ${why}`
    log.warn({ service: key, reason: 'ExternalIPRefused' }, message)
    events.record(serviceObject(key, uid), 'Warning', 'ExternalIPRefused', message)
  }
}

/** An address of the wrong family is told of on the Service, as kube-proxy does; all else on the slice itself. */
export function reportSlice(
  slice: EndpointSlice,
  service: Service | undefined,
  { events, log }: Reporter,
): void {
  for (const { reason, what, why } of slice.problems) {
    log.warn({ slice: slice.key, reason }, `${what} ${why}`)
    if (reason === 'KubeProxyIncorrectIPVersion') {
      const message = `EndpointSlice ${slice.key}: ${what} ${why}`
      events.record(serviceObject(slice.service, service?.uid), 'Warning', reason, message)
    } else events.record(sliceObject(slice), 'Warning', reason, `${what} ${why}`)
  }
}

/** What the kernel's tables could not take. */
export function reportUnserved(
  { key, uid }: Service,
  problems: readonly string[],
  { events, log }: Reporter,
): void {
  for (const problem of problems) {
    log.warn({ service: key }, problem)
    events.record(serviceObject(key, uid), 'Warning', 'NotServed', problem)
  }
}
