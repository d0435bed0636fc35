// Ports from which this node sends for others are no socket's of its own: an answer to a socket at one of the datapath's SNAT would be
// taken for a masqueraded flow's, and go to its client; what a socket at one of the kernel's masquerade sends would be taken for a pod's by
// policy. Where the kernel's own range reaches into them, they are reserved (into the first as shipped it does not). What programs bind by
// number stays theirs to choose.

import type { PortRange } from './masquerade-rules.ts'

/**
 * What net.ipv4.ip_local_reserved_ports (for both families) has to say; undefined: no socket gets these ports by chance.
 * @param localRange net.ipv4.ip_local_port_range
 * @param reserved as it is, `80,8080-8090`
 */
export function reservePorts(
  wanted: readonly PortRange[],
  localRange: string,
  reserved: string,
): string | undefined {
  const [first = 0, last = 0] = localRange.split(/\s+/).map(Number)
  const reached = wanted.filter((range) => range.first <= last && range.last >= first)
  return reached.length > 0 ? writeRanges([...reserved.split(',').flatMap(readRange), ...reached]) : undefined
}

function readRange(text: string): PortRange[] {
  const [first, last = first] = text.split('-').map(Number)
  return text === '' || first === undefined || last === undefined ? [] : [{ first, last }]
}

/** As the kernel shows them: in order, and without a seam. */
function writeRanges(ranges: readonly PortRange[]): string {
  const joined: PortRange[] = []
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = joined.at(-1)
    if (before === undefined || range.first > before.last + 1) joined.push(range)
    else joined[joined.length - 1] = { first: before.first, last: Math.max(before.last, range.last) }
  }
  return joined.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join()
}
