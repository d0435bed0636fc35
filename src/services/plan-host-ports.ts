// Host ports: a pod of this node → the ports the kernel should hold for it on the node's own addresses. Pure.
//
// A pod in the node's own network needs none, for it listens there by itself. What leaves for another node never comes here,
// so there is no Cluster or Local set to tell apart: the pod is the one backend.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { HostPort, LocalPod, ObjectKey } from '../model/service.ts'
import { type DesiredPort, makeBackend, makeFrontend } from './desired.ts'
import { isLoopback } from './frontends.ts'

export interface HostPortContext {
  readonly nodeName: string
  /** Whether host ports are ours to serve, or a CNI plug-in's. */
  readonly servesHostPorts: boolean
  /** Every address of this node, its loopbacks 127.0.0.1 and ::1 left out. */
  readonly nodeAddresses: () => readonly Address[]
}

const LOOPBACKS = ['127.0.0.1', '::1'] as const
const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::']

/** Whose the planned ports are: beside Services' keys, which never hold a space. */
export function hostPortOwner(pod: ObjectKey): ObjectKey {
  return `hostPort ${pod}` as ObjectKey
}

export function planHostPorts(pod: LocalPod, context: HostPortContext): DesiredPort[] {
  if (!context.servesHostPorts || pod.isHostNetwork || !pod.isRunning) return []
  const planned: DesiredPort[] = []
  for (const hostPort of pod.hostPorts) {
    for (const family of FAMILIES) {
      const target = pod.addresses.find((address) => familyOf(address) === family)
      const addresses = hostAddresses(hostPort, family, context)
      if (target !== undefined && addresses.length > 0)
        planned.push(planOne(pod, hostPort, family, target, addresses, context.nodeName))
    }
  }
  return planned
}

/** Where the port is open. An address that is not this node's is nobody's to take by a pod. */
function hostAddresses(
  { hostIp }: HostPort,
  family: Family,
  { nodeAddresses }: HostPortContext,
): readonly Address[] {
  const own = [...nodeAddresses(), ...(LOOPBACKS as readonly string[] as readonly Address[])].filter(
    (address) => familyOf(address) === family,
  )
  if (hostIp === undefined) return own
  if (familyOf(hostIp) !== family) return []
  if (ANY_ADDRESS.includes(hostIp)) return own
  return isLoopback(hostIp) || own.includes(hostIp) ? [hostIp] : []
}

function planOne(
  pod: LocalPod,
  { protocol, hostPort, hostIp, containerPort }: HostPort,
  family: Family,
  target: Address,
  addresses: readonly Address[],
  nodeName: string,
): DesiredPort {
  const owner = hostPortOwner(pod.key)
  // Two containers may open one number on different addresses.
  const portName = `${owner} ${hostPort}/${protocol}${hostIp === undefined ? '' : ` ${hostIp}`}`
  return {
    id: `${portName} ${family}`,
    portName,
    service: owner,
    family,
    balancing: 'list',
    isRandom: false,
    forwarding: 'dsr',
    sourceRanges: [],
    frontends: addresses.map((address) =>
      makeFrontend(address, hostPort, protocol, isLoopback(address) ? 'loopback' : 'host-port'),
    ),
    backends: [
      makeBackend({ address: target, port: containerPort, protocol, nodeName, state: 'active', weight: 1 }),
    ],
    cluster: [0],
    local: [0],
    anyEndpoint: true,
    externalLocal: false,
    internalLocal: false,
    affinitySeconds: 0,
    createdMs: pod.createdMs,
  }
}
