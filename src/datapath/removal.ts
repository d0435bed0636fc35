// Taking the kernel half away: programs off their places, pins, maps. Finds what is pinned below this node's directory and touches
// nothing else. Links are detached, not only unpinned: a link whose pin goes is taken down some time later.

import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { BpfLink, BpfProgram, detachClsact, type LinkInfo, unpin } from '../sys/libbpf-ts/index.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { CLSACT_PIN, CLSACT_PLACE, MADE_QDISC_PIN } from './attach-pins.ts'

/** Each part returns what was taken away, or would be, one line each; to be called in this order. */
export async function removeDatapath(bpffs: string, netlink: Netlink, isDryRun: boolean): Promise<string[]> {
  return [
    ...removeAttachments(bpffs, isDryRun),
    ...(await removeQdiscs(bpffs, netlink, isDryRun)),
    ...removeMaps(bpffs, isDryRun),
  ]
}

export function removeAttachments(bpffs: string, isDryRun: boolean): string[] {
  const links = join(bpffs, 'links')
  return listPins(links)
    .filter((name) => !MADE_QDISC_PIN.test(name))
    .map((name) => removeAttachment(links, name, isDryRun))
}

/** Those that we made, and nobody else uses. */
export async function removeQdiscs(bpffs: string, netlink: Netlink, isDryRun: boolean): Promise<string[]> {
  const links = join(bpffs, 'links')
  const removed: string[] = []
  for (const name of listPins(links))
    if (MADE_QDISC_PIN.test(name)) removed.push(...(await removeQdisc(links, name, netlink, isDryRun)))
  return removed
}

export function removeMaps(bpffs: string, isDryRun: boolean): string[] {
  const maps = join(bpffs, 'maps')
  const names = listPins(maps)
  if (!isDryRun) {
    for (const name of names) unpin(join(maps, name))
    for (const directory of [join(bpffs, 'links'), maps, bpffs]) removeIfEmpty(directory)
  }
  return names.map((name) => `map ${name}`)
}

function listPins(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).sort() : []
}

function removeAttachment(directory: string, name: string, isDryRun: boolean): string {
  const pin = join(directory, name)
  const [, direction = 'ingress', ifindex] = CLSACT_PIN.exec(name) ?? []
  if (ifindex !== undefined) {
    const place = {
      ifindex: Number(ifindex),
      direction: direction.endsWith('egress') ? 'egress' : 'ingress',
      ...CLSACT_PLACE,
    } as const
    const text = `classifier on device ${ifindex}: program ${programName(pin)}`
    if (isDryRun) return text
    // Throws where the device is gone, and its filters with it.
    try {
      detachClsact(place)
    } catch {}
    unpin(pin)
    return text
  }
  const link = BpfLink.openPinned(pin)
  try {
    const text = `program on ${describePlace(link.info())}: link ${name}`
    if (!isDryRun) {
      link.detach()
      unpin(pin)
    }
    return text
  } finally {
    link.close()
  }
}

/** Stays when others have put filters into it meanwhile. */
async function removeQdisc(
  directory: string,
  name: string,
  netlink: Netlink,
  isDryRun: boolean,
): Promise<string[]> {
  const index = Number(MADE_QDISC_PIN.exec(name)?.[1])
  const { trafficControl } = netlink
  const present = (await trafficControl.qdiscs()).some((row) => row.index === index && row.kind === 'clsact')
  const filters = present
    ? [
        ...(await trafficControl.filters(index, 'ingress')),
        ...(await trafficControl.filters(index, 'egress')),
      ]
    : []
  const isOurs = ({ priority, handle }: { priority: number; handle: number }) =>
    priority === CLSACT_PLACE.priority && handle === CLSACT_PLACE.handle
  const isFree = present && filters.every((filter) => isDryRun && isOurs(filter))
  if (isFree && !isDryRun) await trafficControl.deleteClsact(index)
  if (!isDryRun) unpin(join(directory, name))
  return isFree ? [`clsact qdisc of device ${index}`] : []
}

function programName(pin: string): string {
  const program = BpfProgram.openPinned(pin)
  try {
    return program.name
  } finally {
    program.close()
  }
}

function describePlace({ type, ifindex, attachType }: LinkInfo): string {
  const hook = attachType ?? type
  if (type === 'tracing') return `the making of sockets (${hook})`
  if (ifindex === undefined) return `the cgroup (${hook})`
  return ifindex === 0 ? `a device that is gone (${hook})` : `device ${ifindex} (${hook})`
}

/** The prefix may hold what is not ours: a sandbox's pins lie below it. */
function removeIfEmpty(directory: string): void {
  if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory)
}
