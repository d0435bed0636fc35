// The pins of our maps, looked after: a map lives on without its pin while this process and the programs hold it, but the next
// process would begin with an empty one. A pin that somebody removed, or that leads to another map, is made anew.

import { dirname } from 'node:path'
import { BpfMap, makePinDirectory, unpin } from '../sys/libbpf-ts/index.ts'
import type { Loss } from './attach.ts'

/** @param maps by the path of their pin */
export function verifyMapPins(maps: ReadonlyMap<string, BpfMap>): readonly Loss[] {
  const losses: Loss[] = []
  for (const [path, map] of maps) {
    const pinned = BpfMap.openPinnedIfAny(path)
    const isOurs = pinned?.info.id === map.info.id
    pinned?.close()
    if (isOurs) continue
    makePinDirectory(dirname(path))
    unpin(path)
    map.pin(path)
    losses.push({ what: `map ${map.name}`, how: pinned ? 'replaced' : 'unpinned' })
  }
  return losses
}
