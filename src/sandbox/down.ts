// Takes a rack down: everything it made and nothing else, found by what is there rather than by what was recorded.
// Works after a crash at any point of `up`, without a state file, and when run twice.
//
// Processes are found three ways: in the rack's cgroups, in its network namespaces, and by pid files.

import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupProcesses, removeCgroup } from './cgroups.ts'
import { cgroupMount, deleteNamespace } from './host.ts'
import { checkRackName, namespacePath, podsCgroup, rackBpffs, rackCgroup, rackDirectory } from './names.ts'
import { findProcess, identify, isAlive, type ProcessIdentity, signalProcess, waitForEnd } from './process.ts'
import { type Step, silentSteps } from './progress.ts'
import { rackNamespaces } from './rack.ts'
import { RackError } from './rack-error.ts'

/** Time for daemons to end by themselves; then they are killed. Pods get none: a server in a pod may drain for seconds. */
const GOODBYE_MS = 2000
const KILL_MS = 5000
/** FRR's daemons keep crash buffers here under `<daemon>.<pid>`, and remove them only on a clean end. */
const FRR_SCRATCH = '/var/tmp/frr'

export async function downRack(name: string, step: Step = silentSteps): Promise<void> {
  checkRackName(name)
  if (process.getuid?.() !== 0) {
    throw new RackError('not-root', 'taking a rack down needs root', 'run it with sudo -E')
  }
  refuseFromInside(name)
  await step('processes', () => endProcesses(name))
  await step('network namespaces', async () => {
    const namespaces = rackNamespaces(name)
    await Promise.all(namespaces.map(deleteNamespace))
    return `${namespaces.length} removed`
  })
  await step('pinned maps, cgroups, files', async () => {
    rmSync(rackBpffs(name), { recursive: true, force: true })
    await removeCgroup(rackCgroup(cgroupMount(), name))
    rmSync(rackDirectory(name), { recursive: true, force: true })
    for (const path of [rackBpffs(name), rackCgroup(cgroupMount(), name), rackDirectory(name)]) {
      removeEmptyParents(path)
    }
    return 'removed'
  })
}

/** A shell of `weir sandbox exec` may run `down`: it must not sit in what it removes. */
function refuseFromInside(name: string): void {
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/'
  if (!`${cgroupMount()}${own}/`.startsWith(`${rackCgroup(cgroupMount(), name)}/`)) return
  throw new RackError(
    'bad-usage',
    `this shell runs inside rack '${name}', which 'down' would end with everything else`,
    'leave it and run down from outside',
  )
}

async function endProcesses(name: string): Promise<string> {
  const ended = new Map<number, ProcessIdentity>()
  const note = (): ProcessIdentity[] => {
    const found = rackProcesses(name)
    for (const one of found) ended.set(one.pid, one)
    return found
  }
  note()
  killPods(name)
  const asked = note()
  for (const one of asked) signalProcess(one, 'SIGTERM')
  const deadline = performance.now() + GOODBYE_MS
  for (const one of asked) await waitForEnd(one, Math.max(0, deadline - performance.now()))
  // Until nothing is left: a process may have started another just before it was killed.
  const killDeadline = performance.now() + KILL_MS
  for (let left = note(); left.length > 0; left = note()) {
    for (const one of left) signalProcess(one, 'SIGKILL')
    await sleep(20)
    if (performance.now() > killDeadline) {
      const pids = left.filter(isAlive).map((one) => one.pid)
      throw new RackError(
        'timeout',
        `processes ${pids.join(', ')} do not end`,
        'see what holds them, then run down again',
      )
    }
  }
  removeFrrScratch(ended)
  return `${ended.size} ended`
}

/** Ends what runs in the pods' cgroups of every node, at once and with what it starts meanwhile. */
function killPods(name: string): void {
  const rack = rackCgroup(cgroupMount(), name)
  if (!existsSync(rack)) return
  for (const host of readdirSync(rack, { withFileTypes: true })) {
    const kill = `${podsCgroup(cgroupMount(), name, host.name)}/cgroup.kill`
    // Kernels from 5.14 on have it; on others the pods end with the rest.
    if (host.isDirectory() && existsSync(kill)) writeFileSync(kill, '1')
  }
}

function rackProcesses(name: string): ProcessIdentity[] {
  const pids = new Set([
    ...cgroupProcesses(rackCgroup(cgroupMount(), name)),
    ...namespaceProcesses(rackNamespaces(name)),
    ...recordedProcesses(rackDirectory(name)),
  ])
  pids.delete(process.pid)
  return [...pids].map(identify).filter((one) => one !== undefined)
}

/** Processes whose network namespace is one of these, which must exist. */
export function namespaceProcesses(namespaces: readonly string[]): number[] {
  const inodes = new Set(namespaces.map((namespace) => `net:[${statSync(namespacePath(namespace)).ino}]`))
  if (inodes.size === 0) return []
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => inodes.has(readLinkOrEmpty(`/proc/${pid}/ns/net`)))
    .map(Number)
}

/** Processes recorded in any pid file below a directory, if they are still the ones recorded. */
function recordedProcesses(directory: string): number[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.pid'))
    .map((path) => findProcess(`${directory}/${path}`)?.pid)
    .filter((pid) => pid !== undefined)
}

function removeFrrScratch(ended: ReadonlyMap<number, ProcessIdentity>): void {
  if (!existsSync(FRR_SCRATCH)) return
  for (const entry of readdirSync(FRR_SCRATCH)) {
    const pid = Number(/^[a-z]+\.(\d+)$/.exec(entry)?.[1])
    const one = ended.get(pid)
    if (one && !isAlive(one)) rmSync(`${FRR_SCRATCH}/${entry}`, { recursive: true, force: true })
  }
}

/** `…/weir-racks` or `…/weir/racks` goes with the last rack in it. */
function removeEmptyParents(path: string): void {
  for (let parent = dirname(path); /weir/.test(parent); parent = dirname(parent)) {
    try {
      rmdirSync(parent)
    } catch {
      // Not empty, or never made: both are fine.
      return
    }
  }
}

function readLinkOrEmpty(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
