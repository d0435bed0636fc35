// Kernel settings that the datapath needs: which, why, set with the former value remembered, restored by `weir uninstall`.
//
// The plan is pure: from what the kernel says now to what has to be written. The former value goes into the state file before the
// first write, and stays there whatever sets the value later, so that neither a crash nor a restart forgets it.
//
//   net.ipv4.ip_forward, net.ipv6.conf.all.forwarding   packets that XDP leaves to the stack, and pods' own traffic, are routed
//   net.ipv6.conf.<uplink>.accept_ra                     1 → 2: forwarding would else make the node deaf to its routers
//   net.ipv4.conf.<uplink|pod>.rp_filter                 strict → loose: requests and answers take different ways, and a pod answers
//                                                        from a Service's address. The kernel takes the larger of `all` and the
//                                                        device's own, so 2 on the device is enough and 0 is left alone;
//                                                        a bridge with pods counts as a pod's device
//   net.ipv4.ip_local_reserved_ports                     ports from which the node sends for others, where its sockets would get them
//   net.<family>.conf.<uplink>.ignore_routes_with_linkdown   a member of a multipath route without carrier is not used
//   net.ipv6.conf.<uplink>.keep_addr_on_down             an uplink that is set down and up again has its addresses as IPv4 has

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FAMILIES } from '../model/address.ts'
import type { PortRange } from './masquerade-rules.ts'
import { reservePorts } from './reserved-ports.ts'

const RP_FILTER_STRICT = '1'
const RP_FILTER_LOOSE = '2'
export const SYSCTL_STATE_FILE = 'sysctls.json'

/** `read` gives undefined where the kernel has no such setting; `write` throws when it is refused. */
export interface SysctlAccess {
  readonly read: (name: string) => string | undefined
  readonly write: (name: string, value: string) => void
}

export interface SysctlStatus {
  readonly name: string
  readonly value: string | undefined
  readonly needed: string
  /** Before the agent set it; undefined when it never had to. */
  readonly former: string | undefined
  readonly problem: string | undefined
}

interface SysctlDevice {
  readonly name: string
  readonly kind: 'uplink' | 'pod'
}

/** What each setting has to be, given what it is. Names use `/`, for devices have dots in theirs. */
export function neededSysctls(
  devices: readonly SysctlDevice[],
  read: SysctlAccess['read'],
  lentPorts: readonly PortRange[] = [],
): ReadonlyMap<string, string> {
  const needed = new Map<string, string>()
  const need = (name: string, value: string) => {
    if (read(name) !== undefined) needed.set(name, value)
  }
  const uplinks = devices.filter(({ kind }) => kind === 'uplink')
  // First, so that no moment is without: turning forwarding on forgets routers of interfaces that accept as hosts do.
  for (const { name } of uplinks) {
    const accept = `net/ipv6/conf/${name}/accept_ra`
    if (['1', '2'].includes(read(accept) ?? '')) needed.set(accept, '2')
  }
  need('net/ipv4/ip_forward', '1')
  need('net/ipv6/conf/all/forwarding', '1')
  const isStrict = read('net/ipv4/conf/all/rp_filter') === RP_FILTER_STRICT
  for (const { name } of devices) {
    const filter = `net/ipv4/conf/${name}/rp_filter`
    const own = read(filter)
    const isOff = own === '0' && !isStrict
    if (own !== undefined && !isOff) needed.set(filter, RP_FILTER_LOOSE)
  }
  for (const { name } of uplinks)
    for (const family of FAMILIES) need(`net/${family}/conf/${name}/ignore_routes_with_linkdown`, '1')
  for (const { name } of uplinks) need(`net/ipv6/conf/${name}/keep_addr_on_down`, '1')
  const reserved = 'net/ipv4/ip_local_reserved_ports'
  const ports = reservePorts(lentPorts, read('net/ipv4/ip_local_port_range') ?? '', read(reserved) ?? '')
  if (ports !== undefined) need(reserved, ports)
  return needed
}

/** What the state file holds: each setting before the agent, and as it set it. */
export type SysctlRecord = Readonly<Record<string, { readonly former: string; readonly set: string }>>

export function readSysctlRecord(stateDirectory: string): SysctlRecord {
  const file = join(stateDirectory, SYSCTL_STATE_FILE)
  if (!existsSync(file)) return {}
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as SysctlRecord
  } catch (cause) {
    throw new Error(
      `${file} cannot be read: it says what kernel settings were before. Mend: remove it, and check them`,
      { cause },
    )
  }
}

function writeSysctlRecord(stateDirectory: string, record: SysctlRecord): void {
  const file = join(stateDirectory, SYSCTL_STATE_FILE)
  writeFileSync(`${file}.new`, `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

export interface SysctlsOptions extends SysctlAccess {
  /** From where the node sends for others. */
  readonly lentPorts?: readonly PortRange[]
  readonly stateDirectory: string
  /** Told once per setting and value. */
  readonly onSet: (name: string, former: string, value: string) => void
  readonly onProblem: (name: string, error: unknown) => void
}

/** Holds the settings at what is needed: call `apply` at start, when devices come, and now and then. */
export class Sysctls {
  readonly #options: SysctlsOptions
  #record: SysctlRecord
  #status: readonly SysctlStatus[] = []

  /** A record that cannot be read is set aside: the node must serve, whatever became of a file. */
  constructor(options: SysctlsOptions) {
    this.#options = options
    const { stateDirectory, onProblem } = options
    try {
      this.#record = readSysctlRecord(stateDirectory)
    } catch (error) {
      const file = join(stateDirectory, SYSCTL_STATE_FILE)
      renameSync(file, `${file}.unreadable`)
      onProblem(SYSCTL_STATE_FILE, error)
      this.#record = {}
    }
  }

  get status(): readonly SysctlStatus[] {
    return this.#status
  }

  apply(devices: readonly SysctlDevice[]): void {
    const { read, lentPorts, stateDirectory } = this.#options
    const needed = neededSysctls(devices, read, lentPorts)
    const record: Record<string, { former: string; set: string }> = {}
    // Settings of devices that are gone went with them.
    for (const [name, entry] of Object.entries(this.#record))
      if (read(name) !== undefined) record[name] = entry
    for (const [name, value] of needed) {
      const before = read(name)
      if (before === undefined || before === value) continue
      const known = record[name]
      // Another value than last time (ports reserved beside those of others): the uninstallation looks for what was set last.
      if (known?.set !== value)
        record[name] = {
          former: known !== undefined && known.set === before ? known.former : before,
          set: value,
        }
    }
    if (JSON.stringify(record) !== JSON.stringify(this.#record)) {
      writeSysctlRecord(stateDirectory, record)
      this.#record = record
    }
    this.#status = [...needed].map(([name, value]) => this.#hold(name, value))
  }

  #hold(name: string, needed: string): SysctlStatus {
    const { read, write, onSet, onProblem } = this.#options
    const former = this.#record[name]?.former
    const before = read(name)
    if (before === needed) return { name: dotted(name), value: before, needed, former, problem: undefined }
    try {
      write(name, needed)
      onSet(dotted(name), before ?? '', needed)
      return { name: dotted(name), value: needed, needed, former, problem: undefined }
    } catch (error) {
      const known = this.#status.find((row) => row.name === dotted(name))?.problem
      const problem = `cannot be set (${String(error)}). Mend: sysctl -w ${dotted(name)}=${needed}`
      if (known !== problem) onProblem(dotted(name), error)
      return { name: dotted(name), value: before, needed, former, problem }
    }
  }
}

/** As sysctl(8) writes it: dots become slashes and the reverse, so that `eth0.100` stays whole. */
export function dotted(name: string): string {
  return name.replace(/[./]/g, (mark) => (mark === '/' ? '.' : '/'))
}

export const kernelSysctls: SysctlAccess = {
  read: (name) => {
    try {
      return readFileSync(`/proc/sys/${name}`, 'utf8').trim()
    } catch {
      return undefined
    }
  },
  // The line's end: nothing written is nothing changed, and a list may have been empty.
  write: (name, value) => writeFileSync(`/proc/sys/${name}`, `${value}\n`),
}

/** One setting as `weir uninstall` leaves it. */
export interface RestoredSysctl {
  readonly name: string
  readonly outcome: 'restored' | 'changed-by-others' | 'gone'
  readonly value: string
}

/** Puts former values back; a setting that somebody else has changed since is theirs. */
export function restoreSysctls(
  record: SysctlRecord,
  { read, write }: SysctlAccess,
  isDryRun: boolean,
): RestoredSysctl[] {
  // Backwards: accept_ra was raised before forwarding, and is lowered after it.
  return Object.entries(record)
    .reverse()
    .map(([name, { former, set }]) => {
      const value = read(name)
      if (value === undefined) return { name: dotted(name), outcome: 'gone', value: former }
      if (value !== set) return { name: dotted(name), outcome: 'changed-by-others', value }
      if (!isDryRun) write(name, former)
      return { name: dotted(name), outcome: 'restored', value: former }
    })
}
