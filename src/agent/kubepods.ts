// Where the kubelet puts pods among the node's cgroups (v2), by the names that both of its drivers give:
//
//   cgroupfs   kubepods/[burstable/|besteffort/]pod<uid>
//   systemd    kubepods.slice/[kubepods-burstable.slice/]kubepods-burstable-pod<uid>.slice, dashes of the uid as underscores
//
// A kubelet with a root of its own (kind, nested nodes) has them below it, the slices named for it: kubelet-kubepods.slice.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = /^(?:.+-)?kubepods(?:\.slice)?$/
const QUALITY = /(?:^|-)(?:burstable|besteffort)(?:\.slice)?$/
const POD = /(?:^|-)pod([0-9a-zA-Z]{8}[0-9a-zA-Z_-]*)(?:\.slice)?$/
/** How deep a root may lie below the mount. */
const ROOT_DEPTH = 3
/** Of a pod, to find one in its network namespace. */
const PROCESSES_MAX = 256

/** The roots of pods, those nearest to the mount. More than one where the kubelet's driver was changed. */
export function findKubepods(mount: string): readonly string[] {
  let level: readonly string[] = [mount]
  for (let depth = 1; depth <= ROOT_DEPTH; depth += 1) {
    const below = level.flatMap((directory) => directoriesIn(directory).map((name) => join(directory, name)))
    const found = below.filter((path) => ROOT.test(nameOf(path)))
    if (found.length > 0) return found
    level = below
  }
  return []
}

/** Directories of pods by their uid. */
export function podCgroups(roots: readonly string[]): ReadonlyMap<string, string> {
  const pods = new Map<string, string>()
  for (const root of roots) {
    const qualities = directoriesIn(root).filter((name) => QUALITY.test(name))
    for (const directory of [root, ...qualities.map((name) => join(root, name))]) {
      for (const name of directoriesIn(directory)) {
        const uid = POD.exec(name)?.[1]?.replaceAll('_', '-')
        if (uid !== undefined) pods.set(uid, join(directory, name))
      }
    }
  }
  return pods
}

/** Process numbers in a cgroup and below it; 0 for those that this process cannot see. */
export function processesIn(cgroup: string, max = PROCESSES_MAX): readonly number[] {
  const found: number[] = []
  const waiting = [cgroup]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const line of readLines(join(next, 'cgroup.procs'))) found.push(Number(line))
    if (found.length >= max) return found.slice(0, max)
    for (const name of directoriesIn(next)) waiting.push(join(next, name))
  }
  return found
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Cgroups come and go while they are read: what is gone is empty. */
function directoriesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch {
    return []
  }
}

function readLines(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}
