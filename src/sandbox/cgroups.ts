// The rack's cgroups as a register of its processes: whatever a rack started is in there, recorded or not.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupMount } from './host.ts'
import { rackCgroup } from './names.ts'
import { identify, signalProcess, waitForEnd } from './process.ts'
import { RackError } from './rack-error.ts'

const REMOVE_TRIES = 100
const REMOVE_PAUSE_MS = 20
const KILL_MS = 5000
const OTHER_BUILDER_MS = 2000

/** Process ids in a cgroup and everything below it; empty when there is no such cgroup. */
export function cgroupProcesses(path: string): number[] {
  return cgroupTree(path).flatMap((directory) =>
    readOrEmpty(`${directory}/cgroup.procs`)
      .split('\n')
      .filter((line) => line !== '')
      .map(Number),
  )
}

/** Removes a cgroup and everything below it. The kernel refuses for a moment after the last process was killed. */
export async function removeCgroup(path: string): Promise<void> {
  for (let attempt = 0; existsSync(path); attempt++) {
    for (const directory of cgroupTree(path).reverse()) {
      try {
        rmdirSync(directory)
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code
        if (code !== 'ENOENT' && code !== 'EBUSY') throw error
      }
    }
    if (attempt > REMOVE_TRIES) {
      const held = cgroupProcesses(path).join(', ')
      throw new RackError(
        'timeout',
        `cgroup ${path} stays in use by processes ${held}`,
        'end them and run down again',
      )
    }
    if (existsSync(path)) await sleep(REMOVE_PAUSE_MS)
  }
}

/** Ends every process in a cgroup and below it, without asking. */
export async function killCgroup(path: string): Promise<void> {
  const found = cgroupProcesses(path)
    .filter((pid) => pid !== process.pid)
    .map(identify)
    .filter((one) => one !== undefined)
  for (const one of found) signalProcess(one, 'SIGKILL')
  for (const one of found) await waitForEnd(one, KILL_MS)
}

/**
 * Runs `action` with this process inside the rack's cgroup, so that the commands it starts are found by `down` even if
 * this process is killed half way. Refuses when another process builds the same rack.
 */
export async function asBuilder<T>(rack: string, action: () => Promise<T>): Promise<T> {
  const builder = `${rackCgroup(cgroupMount(), rack)}/builder`
  await waitForOtherBuilder(rack, builder)
  mkdirSync(builder, { recursive: true })
  const home = `${cgroupMount()}${/^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/'}`
  writeFileSync(`${builder}/cgroup.procs`, `${process.pid}\n`)
  try {
    return await action()
  } finally {
    writeFileSync(`${home}/cgroup.procs`, `${process.pid}\n`)
  }
}

/** A killed `up` leaves commands that end within moments; another `up` that is at work does not. */
async function waitForOtherBuilder(rack: string, builder: string): Promise<void> {
  const deadline = performance.now() + OTHER_BUILDER_MS
  for (;;) {
    const other = cgroupProcesses(builder).find((pid) => pid !== process.pid)
    if (other === undefined) return
    if (performance.now() > deadline) {
      throw new RackError(
        'busy',
        `process ${other} is bringing up rack '${rack}' already`,
        "wait for it, or end it with 'weir sandbox down'",
      )
    }
    await sleep(REMOVE_PAUSE_MS)
  }
}

/** A cgroup and all below it, parents first. */
function cgroupTree(path: string): string[] {
  if (!existsSync(path)) return []
  try {
    const children = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    return [path, ...children.flatMap((entry) => cgroupTree(`${path}/${entry.name}`))]
  } catch {
    // Removed while we looked.
    return []
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
