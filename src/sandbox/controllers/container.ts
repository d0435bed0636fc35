// One container of a pod: a process in the pod's network namespace, in the pod's cgroup before its first instruction, with a
// host name of its own. It outlives this process: its pid and start time are on disk, and `adopt` finds it again. An adopted
// process is not our child, so its end is noticed by looking once a second, and its exit status stays unknown.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  enterArgv,
  findProcess,
  identify,
  isAlive,
  type Place,
  type ProcessIdentity,
  signalProcess,
} from '../process.ts'

export interface ContainerEnd {
  exitCode: number
  signal: number | undefined
  finishedMs: number
}

export interface ContainerSpec {
  place: Place
  hostname: string
  argv: readonly string[]
  env: Readonly<Record<string, string>>
  workingDirectory: string | undefined
  logFile: string
  pidFile: string
}

/** A running container process. */
export interface RunningContainer {
  readonly identity: ProcessIdentity
  readonly startedMs: number
  /** Resolves when the process has ended. */
  readonly ended: Promise<ContainerEnd>
  signal(signal: NodeJS.Signals): void
  /** Stops watching an adopted process (it goes on running). */
  forget(): void
}

const ADOPTED_LOOK_MS = 1000
/** 128 + SIGKILL: what is said of a process whose status nobody collected. */
export const EXIT_UNKNOWN = 137
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
}
/** Sets the host name of a fresh UTS namespace, then becomes the container; $0 is the name. */
const SET_HOSTNAME = 'echo "$0" >/proc/sys/kernel/hostname; exec "$@"'

export async function startContainer(spec: ContainerSpec): Promise<RunningContainer> {
  mkdirSync(dirname(spec.logFile), { recursive: true })
  const log = openSync(spec.logFile, 'a', 0o600)
  const inside = ['unshare', '--uts', '/bin/sh', '-c', SET_HOSTNAME, spec.hostname, ...spec.argv]
  const [command = '', ...args] = enterArgv(spec.place, inside)
  try {
    const child = spawn(command, args, {
      // A session of its own: signals to this process's group must not reach it.
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...spec.env },
      cwd: spec.workingDirectory ?? '/',
    })
    const ended = childEnd(child)
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.unref()
    const identity = identify(child.pid ?? 0) ?? { pid: child.pid ?? 0, startTicks: '' }
    writeFileSync(spec.pidFile, `${identity.pid} ${identity.startTicks}\n`)
    return running(identity, Date.now(), ended, () => {})
  } finally {
    closeSync(log)
  }
}

/** The recorded process, when it still runs. */
export function adoptContainer(pidFile: string, startedMs: number): RunningContainer | undefined {
  const identity = findProcess(pidFile)
  if (identity === undefined) return undefined
  let timer: NodeJS.Timeout | undefined
  const ended = new Promise<ContainerEnd>((resolve) => {
    timer = setInterval(() => {
      if (isAlive(identity)) return
      clearInterval(timer)
      resolve({ exitCode: EXIT_UNKNOWN, signal: undefined, finishedMs: Date.now() })
    }, ADOPTED_LOOK_MS)
  })
  return running(identity, startedMs, ended, () => clearInterval(timer))
}

function running(
  identity: ProcessIdentity,
  startedMs: number,
  ended: Promise<ContainerEnd>,
  forget: () => void,
): RunningContainer {
  return { identity, startedMs, ended, signal: (signal) => signalProcess(identity, signal), forget }
}

function childEnd(child: ChildProcess): Promise<ContainerEnd> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      const number = signal === null ? undefined : (SIGNAL_NUMBERS[signal] ?? 0)
      resolve({ exitCode: code ?? 128 + (number ?? 0), signal: number, finishedMs: Date.now() })
    })
    child.once('error', () => resolve({ exitCode: 128, signal: undefined, finishedMs: Date.now() }))
  })
}
