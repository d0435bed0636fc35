// Programs of others at the places where ours are: XDP of uplinks, tc of uplinks and pods' devices, the cgroup's socket hooks.
//
// Ours stand first at tcx, and tcx runs before classifiers. Whoever came to stand before ours may end the walk, so the order is told.

import {
  BpfProgram,
  queryCgroup,
  queryTcx,
  queryXdp,
  queryXdpProgram,
  type TcDirection,
} from '../../sys/libbpf-ts/index.ts'
import type { Filter, TrafficControl } from '../../sys/node-netlink/traffic-control.ts'
import type { Finding } from './finding.ts'

const DIRECTIONS: readonly TcDirection[] = ['ingress', 'egress']
const SOCKET_HOOKS = [
  'cgroup_inet4_connect',
  'cgroup_inet6_connect',
  'cgroup_udp4_sendmsg',
  'cgroup_udp6_sendmsg',
  'cgroup_udp4_recvmsg',
  'cgroup_udp6_recvmsg',
  'cgroup_inet4_getpeername',
  'cgroup_inet6_getpeername',
  'cgroup_inet_sock_release',
] as const

interface Device {
  readonly name: string
  readonly ifindex: number
  readonly kind: 'uplink' | 'pod'
}

export interface ProgramPlaces {
  readonly devices: readonly Device[]
  readonly cgroup: string
  /** Ids of our own programs. */
  readonly ours: ReadonlySet<number>
}

/** What the kernel tells at once: XDP, tcx and socket hooks. */
export function findPrograms({ devices, cgroup, ours }: ProgramPlaces): Finding[] {
  const uplinks = devices.filter(({ kind }) => kind === 'uplink')
  return [
    ...uplinks.flatMap(({ name, ifindex }) => xdpFinding(name, ifindex, ours)),
    ...devices.flatMap((device) =>
      DIRECTIONS.flatMap((direction) => tcxFindings(describe(device), device.ifindex, direction, ours)),
    ),
    ...socketFindings(cgroup, ours),
  ]
}

const describe = ({ kind, name }: Device): string =>
  kind === 'uplink' ? `uplink ${name}` : `pod's device ${name}`

function xdpFinding(name: string, ifindex: number, ours: ReadonlySet<number>): Finding[] {
  const id = unlessGone(() => queryXdpProgram(ifindex))
  const holder = id === undefined || ours.has(id) ? undefined : unlessGone(() => queryXdp(ifindex))
  if (!holder) return []
  const { programName, programId, mode, linkId } = holder
  const mend =
    linkId === undefined
      ? `ip link set dev ${name} ${mode === 'generic' ? 'xdpgeneric' : 'xdp'} off`
      : `bpftool link detach id ${linkId}`
  return [
    {
      kind: 'xdp-program',
      where: `uplink ${name}`,
      what: `program '${programName}' (id ${programId}, ${mode}) holds XDP there, where ours belongs`,
      mend: `${mend}, if nothing needs it`,
      services: [],
    },
  ]
}

function tcxFindings(
  where: string,
  ifindex: number,
  direction: TcDirection,
  ours: ReadonlySet<number>,
): Finding[] {
  const ids = unlessGone(() => queryTcx(ifindex, direction)) ?? []
  const own = ids.findIndex((id) => ours.has(id))
  return ids.flatMap((id, place) => {
    if (ours.has(id)) return []
    const order =
      own < 0 ? '' : place < own ? ', before ours, which it may keep from running' : ', after ours'
    return [
      {
        kind: 'tc-program' as const,
        where,
        what: `program '${programName(id)}' (id ${id}) runs at tcx ${direction}${order}`,
        mend: `find its link with 'bpftool link list', and detach it if nothing needs it`,
        services: [],
      },
    ]
  })
}

/** Classifiers, which netlink tells. */
export async function findClassifiers(
  { devices, ours }: Pick<ProgramPlaces, 'devices' | 'ours'>,
  trafficControl: Pick<TrafficControl, 'qdiscs' | 'filters'>,
): Promise<Finding[]> {
  const withClsact = new Set(
    (await trafficControl.qdiscs()).filter(({ kind }) => kind === 'clsact').map(({ index }) => index),
  )
  const found: Finding[] = []
  for (const device of devices) {
    if (!withClsact.has(device.ifindex)) continue
    for (const direction of DIRECTIONS) {
      const filters = await trafficControl.filters(device.ifindex, direction)
      const own = filters.find(({ programId }) => ours.has(programId ?? 0))
      for (const filter of filters)
        if (filter !== own) found.push(classifierFinding(device.name, describe(device), filter, own))
    }
  }
  return found
}

function classifierFinding(name: string, where: string, filter: Filter, own: Filter | undefined): Finding {
  const { kind, direction, priority, handle, programId } = filter
  const what =
    programId === undefined ? `a ${kind} filter` : `program '${programName(programId)}' (id ${programId})`
  const order = own
    ? priority < own.priority
      ? ', before ours, which it may keep from running'
      : ', after ours'
    : ''
  return {
    kind: 'tc-program',
    where,
    what: `${what} is a classifier at ${direction} (priority ${priority}, handle ${handle})${order}`,
    mend: `tc filter del dev ${name} ${direction} pref ${priority}, if nothing needs it`,
    services: [],
  }
}

/** Both translate what a socket connects to; the first one decides. */
function socketFindings(cgroup: string, ours: ReadonlySet<number>): Finding[] {
  const hooksOf = new Map<number, string[]>()
  for (const hook of SOCKET_HOOKS)
    for (const id of queryCgroup(cgroup, hook))
      if (!ours.has(id)) hooksOf.set(id, [...(hooksOf.get(id) ?? []), hook.replace('cgroup_', '')])
  return [...hooksOf].map(([id, hooks]) => ({
    kind: 'cgroup-program',
    where: `cgroup ${cgroup}`,
    what: `program '${programName(id)}' (id ${id}) runs at ${hooks.join(', ')}, and may translate Services too`,
    mend: `'bpftool cgroup tree' shows where it is attached; detach it if nothing needs it`,
    services: [],
  }))
}

function programName(id: number): string {
  return (
    unlessGone(() => {
      const program = BpfProgram.fromId(id)
      try {
        return program.name
      } finally {
        program.close()
      }
    }) ?? ''
  )
}

/** Devices and programs go while we look. */
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
