// Ports of the datapath's SNAT are no socket's of this node: an answer to such a socket would be taken for a masqueraded flow's, and
// go to its client. The kernel's own range ends below them as shipped; where somebody has widened it, they are reserved. What
// programs bind by number stays theirs to choose.

import type { PortRange } from './masquerade-rules.ts'

/**
 * What net.ipv4.ip_local_reserved_ports (for both families) has to say; undefined: no socket gets these ports by chance.
 * @param localRange net.ipv4.ip_local_port_range
 * @param reserved as it is, `80,8080-8090`
 */
export function reservePorts(wanted: PortRange, localRange: string, reserved: string): string | undefined {
  const [first = 0, last = 0] = localRange.split(/\s+/).map(Number)
  if (wanted.first > last || wanted.last < first) return undefined
  return writeRanges([...reserved.split(',').flatMap(readRange), wanted])
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
