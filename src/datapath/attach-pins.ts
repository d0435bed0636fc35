// Names of the pins below links/ (attach.ts tells what each is), and taking off its place what one holds.

import { BpfError, BpfLink, detachClsact, type TcDirection } from '../sys/libbpf-ts/index.ts'

/** Pins of programs that mark a classifier (on an uplink with its direction), and a qdisc that we made. */
export const CLSACT_PIN = /^clsact_(?:(ingress|egress|pod_egress)_)?(\d+)$/
export const MADE_QDISC_PIN = /^clsact_made_(\d+)$/
/** Our place among classifiers on kernels without tcx. */
export const CLSACT_PLACE = { priority: 0x5745, handle: 1 } as const

/** How pods' devices carry programs: by tcx links, or by classifiers. */
export type PodPinKind = 'pod' | 'clsact'

export interface PodPin {
  readonly kind: PodPinKind
  readonly direction: TcDirection
  readonly ifindex: number
}

const POD_PREFIXES: Readonly<Record<PodPinKind, Readonly<Record<TcDirection, string>>>> = {
  pod: { ingress: 'pod_', egress: 'pod_egress_' },
  clsact: { ingress: 'clsact_', egress: 'clsact_pod_egress_' },
}

export function podPinName({ kind, direction, ifindex }: PodPin): string {
  return POD_PREFIXES[kind][direction] + ifindex
}

/** Undefined: it is no pod's. */
export function readPodPin(name: string): PodPin | undefined {
  const [, prefix, number] = /^([a-z_]+_)(\d+)$/.exec(name) ?? []
  for (const kind of ['pod', 'clsact'] as const)
    for (const direction of ['ingress', 'egress'] as const)
      if (POD_PREFIXES[kind][direction] === prefix) return { kind, direction, ifindex: Number(number) }
  return undefined
}

/** bpffs refuses dots, which VLAN devices have (`eth0.100`). */
export function pinName(interfaceName: string): string {
  return interfaceName.replaceAll('.', '_')
}

export function tcPin(uplink: string, direction: TcDirection): string {
  return `tc_${direction}_${pinName(uplink)}`
}

/** A link that only loses its pin is taken down some time later, and until then its place is taken (EEXIST). */
export function detachPinned(pin: string): void {
  const link = BpfLink.openPinnedIfAny(pin)
  link?.detach()
  link?.close()
}

export function detachIfAny(ifindex: number, direction: TcDirection): 'detached' | 'no-device' {
  try {
    detachClsact({ ifindex, direction, ...CLSACT_PLACE })
    return 'detached'
  } catch (error) {
    if (error instanceof BpfError && error.code === 'not-found') return 'no-device'
    throw error
  }
}
