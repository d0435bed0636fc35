// A host of the rack: a network namespace with a cgroup, and how to run a command inside both.
// A "host" is whatever has its own network stack: router, client, node, and (by podHost) a pod.

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { podDirectory, recordedUid } from './controllers/pod-record.ts'
import {
  BPFFS_MOUNT,
  hostCgroup,
  hostDirectory,
  namespaceName,
  namespacePath,
  type PodName,
  podAlias,
  podCgroup,
  podNamespaceName,
  systemCgroup,
} from './names.ts'
import { enterArgv, type Place } from './process.ts'
import { RackError } from './rack-error.ts'

export interface Host {
  readonly rack: string
  readonly name: string
  readonly namespace: string
  /** The host's whole cgroup; a node's `system` and `kubepods` are below it. */
  readonly cgroup: string
  /** Where its own daemons and commands run: a cgroup with controllers enabled holds no process itself. */
  readonly systemCgroup: string
  readonly directory: string
}

export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** Text for standard input. */
  readonly input?: string
  readonly timeoutMs?: number
  readonly env?: Readonly<Record<string, string>>
}

const RUN_MS = 30_000
const OUTPUT_LINES_SHOWN = 5

let cgroupMountFound: string | undefined

/** Mount point of cgroup v2, wherever this machine has it. */
export function cgroupMount(): string {
  cgroupMountFound ??= /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1]
  if (cgroupMountFound) return cgroupMountFound
  throw new RackError(
    'command-failed',
    'no cgroup v2 file system is mounted',
    "run 'mount -t cgroup2 none /sys/fs/cgroup' (on a systemd machine it is there already)",
  )
}

export function hostOf(rack: string, name: string): Host {
  const mount = cgroupMount()
  return {
    rack,
    name,
    namespace: namespaceName(rack, name),
    cgroup: hostCgroup(mount, rack, name),
    systemCgroup: systemCgroup(mount, rack, name),
    directory: hostDirectory(rack, name),
  }
}

/**
 * A pod seen as a host.
 * @param node where it is scheduled
 * @param uid of its object; absent: as recorded, if it has been started
 */
export function podHost(rack: string, node: string, pod: PodName, uid = recordedUid(rack, node, pod)): Host {
  const cgroup = podCgroup(cgroupMount(), rack, node, uid)
  return {
    rack,
    name: podAlias(pod),
    namespace: podNamespaceName(rack, pod),
    cgroup,
    systemCgroup: cgroup,
    directory: podDirectory(rack, node, pod),
  }
}

/** Runs a command in the host's namespace and cgroup. Resolves whatever its status; rejects only if it cannot start. */
export function runIn(host: Host, argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const cgroup = existsSync(host.systemCgroup) ? host.systemCgroup : undefined
  return runAt({ namespace: host.namespace, cgroup }, argv, options)
}

/** Runs a command in a place (none: here). A command that overruns `timeoutMs` is killed and has status 124. */
export function runAt(
  place: Place,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<CommandResult> {
  const [command = '', ...args] = enterArgv(place, argv)
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    })
    let stdout = ''
    let stderr = ''
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, options.timeoutMs ?? RUN_MS)
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ status: timedOut ? 124 : (code ?? 128), stdout, stderr })
    })
    // A command may end without reading its input; its status tells, not the broken pipe.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input)
  })
}

/** Runs a command that must succeed; returns its output. */
export async function demand(
  place: Place,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await runAt(place, argv, options)
  if (result.status === 0) return result.stdout
  const where = place.namespace ? ` in namespace ${place.namespace}` : ''
  throw new RackError(
    'command-failed',
    `'${argv.join(' ')}'${where} failed with status ${result.status}`,
    "run 'weir sandbox down' and 'up' again if the rack is half built",
    { detail: (result.stderr.trim() || result.stdout.trim()).split('\n').slice(0, OUTPUT_LINES_SHOWN) },
  )
}

/** Applies lines of `ip` commands in one process: in a namespace by name, or here. */
export async function ipBatch(namespace: string | undefined, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  const enter = namespace ? ['-n', namespace] : []
  await demand({}, ['ip', ...enter, '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

/** Whether the namespace is there and usable: a killed `ip netns add` leaves a plain file with no namespace on it. */
export function namespaceExists(namespace: string): boolean {
  const path = namespacePath(namespace)
  return existsSync(path) && statSync(path).dev !== statSync(dirname(path)).dev
}

/** Every named network namespace of the machine. */
export function listNamespaces(): string[] {
  return existsSync('/run/netns') ? readdirSync('/run/netns') : []
}

/** Makes a network namespace with its loopback up; fine when it is there. */
export async function createNamespace(namespace: string): Promise<void> {
  await createNamespaces([namespace])
  await ipBatch(namespace, ['link set lo up'])
}

/** Makes the namespaces that are missing, all in one process. */
export async function createNamespaces(namespaces: readonly string[]): Promise<void> {
  const missing = namespaces.filter((namespace) => !namespaceExists(namespace))
  await Promise.all(missing.map(deleteNamespace))
  await ipBatch(
    undefined,
    missing.map((namespace) => `netns add ${namespace}`),
  )
}

/** Removes a network namespace by name; fine when it is gone. Its links go when its last process has ended. */
export async function deleteNamespace(namespace: string): Promise<void> {
  if (existsSync(namespacePath(namespace))) await ipBatch(undefined, [`netns del ${namespace}`])
}

/** Mounts the bpf file system where programs and maps are pinned, unless it is mounted. */
export async function ensureBpffs(): Promise<void> {
  if (new RegExp(` ${BPFFS_MOUNT} bpf `).test(readFileSync('/proc/mounts', 'utf8'))) return
  mkdirSync(BPFFS_MOUNT, { recursive: true })
  await demand({}, ['mount', '-t', 'bpf', 'bpf', BPFFS_MOUNT])
}
