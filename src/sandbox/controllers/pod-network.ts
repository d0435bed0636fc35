// A pod's network: a namespace of its own, joined to its node by a veth pair in the way of the ptp CNI plug-in. The pod has one
// address per family and a default route to its gateway; the gateway address sits on the node's end of every pod's veth, and
// the node has a host route (/32, /128) per pod. Nothing is bridged, so pods reach each other through their node.
//
// On a node that has a bridge called cni0 when a pod comes, it is as the bridge plug-in (and so flannel) makes it: the pod's link is a port
// of that, its gateway's address sits on the bridge, and pods of one node reach each other without their node's routing.
//
// What the datapath needs of the pod's end (checked on the kernel, see the machine notes): GRO on, for XDP can redirect into a veth
// only when its peer has a NAPI receiver; checksum and segmentation offloads off, for a redirected frame loses its partial
// checksum. IPv6 duplicate address detection is off on both ends: addresses are unique by allocation, and waiting costs a second.

import { existsSync, writeFileSync } from 'node:fs'
import { withNetworkNamespace } from '../../sys/libc/namespaces.ts'
import { createNamespace, deleteNamespace, demand, ipBatch, runAt } from '../host.ts'
import { familyOf } from '../ip-arithmetic.ts'
import {
  namespaceName,
  namespacePath,
  type PodName,
  podAlias,
  podInterface,
  podNamespaceName,
} from '../names.ts'
import type { PodAddress } from './pod-address.ts'

export const POD_INTERFACE = 'eth0'
const POD_MTU = 1500
export const BRIDGE = 'cni0'
/** Of a node's podCIDRs, as the address plan cuts them. */
const SUBNET_LENGTH = { ipv4: 24, ipv6: 64 } as const

export interface PodNetwork {
  rack: string
  node: string
  pod: PodName
  addresses: readonly PodAddress[]
}

interface NewPodNetwork extends PodNetwork {
  /** The node's own: it speaks to its pods from them, as to everybody else, and not from their gateway's address. */
  hostAddresses: readonly string[]
}

/** Makes the namespace and its link. Repeatable: what a killed attempt left is replaced. */
export async function createPodNetwork({
  rack,
  node,
  pod,
  addresses,
  hostAddresses,
}: NewPodNetwork): Promise<void> {
  const nodeNamespace = namespaceName(rack, node)
  const podNamespace = podNamespaceName(rack, pod)
  const outside = podInterface(pod)
  await runAt({}, ['ip', '-n', nodeNamespace, 'link', 'del', outside])
  await createNamespace(podNamespace)
  setSysctls(podNamespace, PARAMETERS.pod)
  setSysctls(nodeNamespace, PARAMETERS.node)
  await ipBatch(nodeNamespace, [
    `link add ${outside} mtu ${POD_MTU} type veth peer name ${POD_INTERFACE} mtu ${POD_MTU} netns ${podNamespace}`,
    `link set ${outside} alias ${podAlias(pod)}`,
  ])
  // Before the link is up, so that its link-local address is usable at once.
  setSysctls(nodeNamespace, { [`ipv6/conf/${outside}/accept_dad`]: '0' })
  const features = ['gro', 'on', 'tx', 'off', 'tso', 'off', 'gso', 'off']
  await demand({ namespace: podNamespace }, ['ethtool', '-K', POD_INTERFACE, ...features])
  const bridge = await runAt({}, ['ip', '-n', nodeNamespace, 'link', 'show', BRIDGE])
  if (bridge.status === 0) {
    await joinBridge(nodeNamespace, podNamespace, outside, addresses)
    return
  }
  await ipBatch(nodeNamespace, [
    `link set ${outside} up`,
    ...addresses.flatMap(({ address, gateway }) => [
      `address add ${host(gateway)} dev ${outside}${familyOf(gateway) === 'ipv6' ? ' nodad noprefixroute' : ' noprefixroute'}`,
      `route replace ${host(address)} dev ${outside}${source(hostAddresses, address)}`,
    ]),
  ])
  await ipBatch(podNamespace, [
    `link set ${POD_INTERFACE} up`,
    ...addresses.flatMap(({ address, gateway }) => [
      `address add ${host(address)} dev ${POD_INTERFACE}${familyOf(address) === 'ipv6' ? ' nodad' : ''}`,
      `route replace ${host(gateway)} dev ${POD_INTERFACE}`,
      `route replace default via ${gateway} dev ${POD_INTERFACE}`,
    ]),
  ])
}

async function joinBridge(
  nodeNamespace: string,
  podNamespace: string,
  outside: string,
  addresses: readonly PodAddress[],
): Promise<void> {
  await ipBatch(nodeNamespace, [
    ...addresses.map(({ gateway }) => `address replace ${inSubnet(gateway)} dev ${BRIDGE}`),
    `link set ${outside} master ${BRIDGE} up`,
  ])
  await ipBatch(podNamespace, [
    `link set ${POD_INTERFACE} up`,
    ...addresses.flatMap(({ address, gateway }) => [
      `address add ${inSubnet(address)} dev ${POD_INTERFACE}`,
      `route replace default via ${gateway} dev ${POD_INTERFACE}`,
    ]),
  ])
}

function inSubnet(address: string): string {
  const family = familyOf(address)
  return `${address}/${SUBNET_LENGTH[family]}${family === 'ipv6' ? ' nodad' : ''}`
}

function source(hostAddresses: readonly string[], address: string): string {
  const own = hostAddresses.find((one) => familyOf(one) === familyOf(address))
  return own === undefined ? '' : ` src ${own}`
}

/** Takes the link away first: a namespace lives on while any process or socket holds it, its address must not. */
export async function deletePodNetwork({ rack, node, pod }: Omit<PodNetwork, 'addresses'>): Promise<void> {
  await runAt({}, ['ip', '-n', namespaceName(rack, node), 'link', 'del', podInterface(pod)])
  await deleteNamespace(podNamespaceName(rack, pod))
}

/** Whether the pod's namespace and link are as they were made. */
export async function podNetworkExists({ rack, node, pod }: Omit<PodNetwork, 'addresses'>): Promise<boolean> {
  if (!existsSync(namespacePath(podNamespaceName(rack, pod)))) return false
  const link = await runAt({}, ['ip', '-n', namespaceName(rack, node), 'link', 'show', podInterface(pod)])
  return link.status === 0
}

const PARAMETERS = {
  pod: {
    'ipv6/conf/all/disable_ipv6': '0',
    'ipv6/conf/default/accept_dad': '0',
    'ipv6/conf/default/accept_ra': '0',
    // Any port, as container runtimes allow.
    'ipv4/ip_unprivileged_port_start': '0',
    'ipv4/ping_group_range': '0 2147483647',
  },
  // The ptp plug-in turns forwarding on as well; on a rack's node it is on already.
  node: { 'ipv4/ip_forward': '1', 'ipv6/conf/all/forwarding': '1' },
} as const

/** Sysctls under /proc/sys/net are those of the namespace the writing thread is in. */
function setSysctls(namespace: string, values: Readonly<Record<string, string>>): void {
  withNetworkNamespace(namespacePath(namespace), () => {
    for (const [name, value] of Object.entries(values)) writeFileSync(`/proc/sys/net/${name}`, value)
  })
}

function host(address: string): string {
  return `${address}/${familyOf(address) === 'ipv4' ? 32 : 128}`
}
