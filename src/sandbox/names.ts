// The one place that knows what the things of a rack are called: namespaces, interfaces, directories, cgroups, pins.
// Pure. `weir sandbox down` finds what a crashed `up` left behind by these names alone, so a rack's name holds no
// hyphen: nothing of rack `a` can begin with the name of rack `b`.

import { createHash } from 'node:crypto'
import { RackError } from './rack-error.ts'

export const RACK_NAME_DEFAULT = 'weir'
/** Short enough that every name derived from it stays readable in `ip netns`; the kernel would allow more. */
export const RACK_NAME_MAX = 24
/** The kernel's IFNAMSIZ less the closing zero. */
export const INTERFACE_NAME_MAX = 15
/** A namespace is a file in /run/netns, and file names end at 255 bytes. */
const FILE_NAME_MAX = 255

const NAMESPACE_DIRECTORY = '/run/netns'
const RACKS_DIRECTORY = '/run/weir/racks'
export const BPFFS_MOUNT = '/sys/fs/bpf'
const BPFFS_RACKS = `${BPFFS_MOUNT}/weir/racks`
const CGROUP_RACKS = 'weir-racks'
const HOST_NAME = /^(tor[12]|spine|client\d{1,3}|node\d{1,3})$/

/** Returns the name when it can be a rack's, else throws what is wrong with it. */
export function checkRackName(name: string): string {
  if (name.length > RACK_NAME_MAX) {
    throw new RackError(
      'name-too-long',
      `the rack name '${name}' has ${name.length} characters, at most ${RACK_NAME_MAX} fit`,
      'choose a shorter --name',
    )
  }
  if (!/^[a-z][a-z0-9]*$/.test(name)) {
    throw new RackError(
      'bad-name',
      `'${name}' cannot name a rack: it must begin with a letter a-z and hold only a-z and 0-9`,
      'choose another --name, for example rack2',
    )
  }
  return name
}

/** Network namespace of a host: `weir-node1`. */
export function namespaceName(rack: string, host: string): string {
  return `${rack}-${host}`
}

/** Network namespace of a pod: `weir-pod-default.web-1`. */
export function podNamespaceName(rack: string, pod: PodName): string {
  return checkFileName(`${rack}-pod-${podFileName(pod)}`, pod)
}

export interface PodName {
  readonly namespace: string
  readonly name: string
}

/** A namespace's name as a path that `nsenter --net=` takes. */
export function namespacePath(namespace: string): string {
  return `${NAMESPACE_DIRECTORY}/${namespace}`
}

/** Whether a network namespace of this name is made by the rack: one of its hosts or pods. */
export function ownsNamespace(rack: string, namespace: string): boolean {
  if (!namespace.startsWith(`${rack}-`)) return false
  const rest = namespace.slice(rack.length + 1)
  return rest.startsWith('pod-') || HOST_NAME.test(rest)
}

/** `/run/weir/racks/R`: state file, kubeconfig, and a directory per host. */
export function rackDirectory(rack: string): string {
  return `${RACKS_DIRECTORY}/${rack}`
}

export function hostDirectory(rack: string, host: string): string {
  return `${rackDirectory(rack)}/${host}`
}

export function stateFile(rack: string): string {
  return `${rackDirectory(rack)}/rack.json`
}

export function kubeconfigFile(rack: string): string {
  return `${rackDirectory(rack)}/kubeconfig`
}

/** The certificate authority of the rack's API server. */
export function apiCaFile(rack: string): string {
  return `${rackDirectory(rack)}/ca.crt`
}

/** The bearer token that a node's agent shows to the API server. */
export function nodeTokenFile(rack: string, node: string): string {
  return `${hostDirectory(rack, node)}/token`
}

/** Where the rack's BPF maps and links are pinned; a directory per node below it. */
export function rackBpffs(rack: string): string {
  return `${BPFFS_RACKS}/${rack}`
}

export function nodeBpffs(rack: string, node: string): string {
  return `${rackBpffs(rack)}/${node}`
}

/** The rack's cgroup, below the mount point of cgroup v2. */
export function rackCgroup(mount: string, rack: string): string {
  return `${mount}/${CGROUP_RACKS}/${rack}`
}

export function hostCgroup(mount: string, rack: string, host: string): string {
  return `${rackCgroup(mount, rack)}/${host}`
}

/**
 * Where a host's own daemons run. On a node they are kept apart from pods, so that a cgroup program may attach to
 * the node (parent of both), to its daemons or to its pods.
 */
export function systemCgroup(mount: string, rack: string, host: string): string {
  return `${hostCgroup(mount, rack, host)}/system`
}

/** Where a node's pods run, as the kubelet's cgroupfs driver has it. */
export function podsCgroup(mount: string, rack: string, node: string): string {
  return `${hostCgroup(mount, rack, node)}/kubepods`
}

export function podCgroup(mount: string, rack: string, node: string, uid: string): string {
  return `${podsCgroup(mount, rack, node)}/besteffort/pod${uid}`
}

/** An interface is named for where it leads: `to-tor1`. */
export function linkInterface(neighbour: string): string {
  const name = `to-${neighbour}`
  if (name.length > INTERFACE_NAME_MAX) {
    throw new RackError(
      'name-too-long',
      `the interface name '${name}' has ${name.length} characters, the kernel allows ${INTERFACE_NAME_MAX}`,
      `name the neighbour with at most ${INTERFACE_NAME_MAX - 3} characters`,
    )
  }
  return name
}

/** The node's end of a pod's veth: `pod` and 12 hex digits of a hash, 15 characters; the alias tells the full name. */
export function podInterface(pod: PodName): string {
  const hash = createHash('sha256').update(podAlias(pod)).digest('hex')
  return `pod${hash.slice(0, INTERFACE_NAME_MAX - 3)}`
}

export function podAlias(pod: PodName): string {
  return `${pod.namespace}/${pod.name}`
}

function podFileName(pod: PodName): string {
  return `${pod.namespace}.${pod.name}`
}

function checkFileName(name: string, pod: PodName): string {
  if (name.length <= FILE_NAME_MAX) return name
  throw new RackError(
    'name-too-long',
    `pod ${podAlias(pod)} needs the name '${name}' of ${name.length} characters, at most ${FILE_NAME_MAX} fit`,
    'give the pod a shorter name',
  )
}
