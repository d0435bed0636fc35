// Long-lived processes of a rack: started detached (they survive the command that started them), found again by
// a pid file, stopped with a deadline. A pid alone proves nothing (the kernel reuses them), so a pid file holds the
// pid and the process's start time, and a recorded pid whose start time differs counts as dead.

import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { namespacePath } from './names.ts'
import { RackError } from './rack-error.ts'

/** A process as recorded: `startTicks` is field 22 of /proc/PID/stat, clock ticks since boot. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTicks: string
}

/** Where a process runs: network namespace by name, and cgroup directory (which must exist) by path. */
export interface Place {
  readonly namespace?: string | undefined
  readonly cgroup?: string | undefined
}

export interface ProcessSpec extends Place {
  /** What messages call it, for example `gobgpd of node1`. */
  readonly name: string
  readonly argv: readonly string[]
  /** Both output streams are appended here. */
  readonly logFile: string
  readonly pidFile: string
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>
}

const STOP_MS = 5000
const POLL_MS = 10

/**
 * The argument list that runs `argv` in a place. The pid stays the same through all of it: nsenter and sh both end in
 * exec. Mounts are kept (unlike `ip netns exec`, which remounts /sys), so bpffs and cgroups stay visible.
 */
export function enterArgv(place: Place, argv: readonly string[]): string[] {
  const join = place.cgroup
    ? ['/bin/sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', place.cgroup, ...argv]
    : [...argv]
  return place.namespace ? ['nsenter', `--net=${namespacePath(place.namespace)}`, '--', ...join] : join
}

/** Starts a process that outlives the caller, and records it. It may still fail: callers wait for its readiness. */
export async function startProcess(spec: ProcessSpec): Promise<ProcessIdentity> {
  mkdirSync(dirname(spec.logFile), { recursive: true })
  mkdirSync(dirname(spec.pidFile), { recursive: true })
  const log = openSync(spec.logFile, 'a', 0o600)
  try {
    const [command = '', ...args] = enterArgv(spec, spec.argv)
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...spec.env },
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.unref()
    const pid = child.pid ?? 0
    const startTicks = readStartTicks(pid)
    if (startTicks === undefined) throw new Error('it ended at once')
    writeFileSync(spec.pidFile, `${pid} ${startTicks}\n`)
    return { pid, startTicks }
  } catch (cause) {
    throw new RackError('process-died', `cannot start ${spec.name}`, `see ${spec.logFile}`, { cause })
  } finally {
    closeSync(log)
  }
}

/** The recorded process if it is alive; undefined when there is no record, it ended, or its pid is another's now. */
export function findProcess(pidFile: string): ProcessIdentity | undefined {
  const recorded = readPidFile(pidFile)
  return recorded && isAlive(recorded) ? recorded : undefined
}

/** Whether this very process (not a later one with its pid) still runs. A zombie does not. */
export function isAlive(identity: ProcessIdentity): boolean {
  return readStartTicks(identity.pid) === identity.startTicks
}

/**
 * Ends the recorded process and removes its record: the signal, then SIGKILL when `timeoutMs` have passed.
 * Resolves to whether there was a process to end. Stopping what is already dead is fine.
 */
export async function stopProcess(
  pidFile: string,
  options: { signal?: NodeJS.Signals; timeoutMs?: number } = {},
): Promise<boolean> {
  const found = findProcess(pidFile)
  if (found) {
    signalProcess(found, options.signal ?? 'SIGTERM')
    if (!(await waitForEnd(found, options.timeoutMs ?? STOP_MS))) {
      signalProcess(found, 'SIGKILL')
      await waitForEnd(found, STOP_MS)
    }
  }
  rmSync(pidFile, { force: true })
  return found !== undefined
}

/** Sends a signal unless the process has ended, or its pid has become another's. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return
  try {
    process.kill(identity.pid, signal)
  } catch (error) {
    // It ended between the look and the kill.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Waits until the process has ended; false when `timeoutMs` passed first. */
export async function waitForEnd(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (isAlive(identity)) {
    if (performance.now() > deadline) return false
    await sleep(POLL_MS)
  }
  return true
}

/** Anonymous resident memory in bytes (mapped files, such as BPF maps, are not counted); 0 for a dead process. */
export function anonymousBytes(pid: number): number {
  const status = readOrUndefined(`/proc/${pid}/status`) ?? ''
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
}

/** Identity of a running process by its pid. */
export function identify(pid: number): ProcessIdentity | undefined {
  const startTicks = readStartTicks(pid)
  return startTicks === undefined ? undefined : { pid, startTicks }
}

function readPidFile(pidFile: string): ProcessIdentity | undefined {
  if (!existsSync(pidFile)) return undefined
  const [pid, startTicks] = (readOrUndefined(pidFile) ?? '').trim().split(' ')
  return pid && startTicks && /^\d+$/.test(pid) ? { pid: Number(pid), startTicks } : undefined
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process or it is a zombie. */
function readStartTicks(pid: number): string | undefined {
  const stat = readOrUndefined(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The second field is the command in parentheses and may hold spaces: count from the last parenthesis.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
