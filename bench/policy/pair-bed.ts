// The node of bench/bed with a pod behind each of its three links (pair-world.ts): caller, callee and chosen one.

import { type Bed, DEVICES, type Device, type Host, makeBed } from '../bed/topology.ts'
import { LINKED, type Linked, linkedAddress } from './pair-world.ts'

export interface LinkOfPod {
  /** Where the pod's end is. */
  readonly host: Host
  readonly pod: Device
  readonly node: Device
}

export const LINKS: Readonly<Record<Linked, LinkOfPod>> = {
  caller: { host: 'client', pod: DEVICES.c0, node: DEVICES.n0 },
  callee: { host: 'backend', pod: DEVICES.b0, node: DEVICES.n1 },
  chosen: { host: 'backend', pod: DEVICES.f0, node: DEVICES.n2 },
}
/** What names of the node's ends of pods' links begin with. */
export const DEVICE_PREFIX = 'n'

export function makePairBed(name: string): Bed {
  const bed = makeBed(name, 'n2')
  const lines = LINKED.flatMap((linked) => {
    const { pod, node } = LINKS[linked]
    const address = linkedAddress(linked)
    return [
      `route replace ${address}/32 dev ${node.name} scope link`,
      `neigh replace ${address} lladdr ${pod.mac} dev ${node.name} nud permanent`,
    ]
  })
  bed.run('node', ['ip', '-batch', '-'], `${lines.join('\n')}\n`)
  return bed
}
