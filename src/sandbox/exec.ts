// `weir sandbox exec` and `logs`: a command in a host's or pod's network namespace and cgroup, with this terminal.
// Mounts are kept, so bpffs and cgroups look as they do outside.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { constants } from 'node:os'
import { nearMatches } from '../model/near-matches.ts'
import { CONTROL_HOST, controlHost } from './control-process.ts'
import { type Host, namespaceExists, podHost } from './host.ts'
import { agentSocket, gobgpSocket, WEIR } from './nodes.ts'
import { enterArgv } from './process.ts'
import { type Rack, rackNamespaces } from './rack.ts'
import { RackError } from './rack-error.ts'
import { routerCommand } from './routers.ts'

/** Runs a command on a host (`node1`) or pod (`namespace/name`) and resolves to its exit status, as a shell gives it. */
export async function execIn(rack: Rack, hostName: string, argv: readonly string[]): Promise<number> {
  const host = hostName.includes('/') ? findPod(rack, hostName) : rack.host(hostName)
  if (!namespaceExists(host.namespace)) {
    throw new RackError(
      'not-up',
      `${hostName} has no network namespace ${host.namespace}`,
      "run 'weir sandbox up' to mend the rack",
    )
  }
  const command = instanceCommand(host, argv)
  const cgroup = existsSync(host.systemCgroup) ? host.systemCgroup : undefined
  return await runOnTerminal(enterArgv({ namespace: host.namespace, cgroup }, command), {
    KUBECONFIG: rack.kubeconfig,
    WEIR_SOCKET: agentSocket(host),
  })
}

/** Prints, and with `follow` keeps printing, the logs of a host's processes. */
export async function showLogs(
  rack: Rack,
  hostName: string,
  lines: number,
  follow: boolean,
): Promise<number> {
  const host = hostName === CONTROL_HOST && !rack.fabricOnly ? controlHost(rack) : rack.host(hostName)
  const files = existsSync(host.directory)
    ? readdirSync(host.directory)
        .filter((file) => file.endsWith('.log'))
        .map((file) => `${host.directory}/${file}`)
    : []
  if (files.length === 0) {
    throw new RackError(
      'not-up',
      `${hostName} has written no log in ${host.directory}`,
      'clients run no daemon; try a node or a router',
    )
  }
  return await runOnTerminal(['tail', '-n', String(lines), ...(follow ? ['-F'] : []), ...files], {})
}

/** Points the routers' and gobgpd's own tools at the instance of this host. */
function instanceCommand(host: Host, argv: readonly string[]): string[] {
  const [command = '', ...rest] = argv
  if (command === 'weir') return [process.execPath, WEIR, ...rest]
  if (command === 'gobgp') return [command, '--target', `unix://${gobgpSocket(host)}`, ...rest]
  return routerCommand(host, argv)
}

function findPod(rack: Rack, name: string): Host {
  const [namespace = '', pod = ''] = name.split('/')
  const prefix = `${rack.name}-pod-`
  const known = rackNamespaces(rack.name)
    .filter((one) => one.startsWith(prefix))
    .map((one) => one.slice(prefix.length).replace('.', '/'))
  if (!known.includes(name)) {
    const near = nearMatches(name, known)
    const list =
      known.length > 0 ? `pods: ${known.join(', ')}` : "no pod runs; 'kubectl get pods -A' tells more"
    const mend = near.length > 0 ? `did you mean ${near.join(' or ')}` : list
    throw new RackError('unknown-host', `rack '${rack.name}' has no pod '${name}'`, mend)
  }
  const hosts = rack.plan.nodes.map((node) => podHost(rack.name, node.name, { namespace, name: pod }))
  const found = hosts.find((host) => existsSync(host.cgroup)) ?? hosts[0]
  if (found) return found
  throw new Error('a rack has at least one node')
}

async function runOnTerminal(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const [command = '', ...args] = argv
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } })
  const release = passSignals(child)
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)))
    })
  } finally {
    release()
  }
}

/** The terminal sends its interrupts to the child itself; what others send to us alone is passed on. */
function passSignals(child: ChildProcess): () => void {
  const wait = (): void => {}
  const pass = (signal: NodeJS.Signals): void => {
    child.kill(signal)
  }
  process.on('SIGINT', wait).on('SIGQUIT', wait).on('SIGTERM', pass).on('SIGHUP', pass)
  return () => {
    process.off('SIGINT', wait).off('SIGQUIT', wait).off('SIGTERM', pass).off('SIGHUP', pass)
  }
}
