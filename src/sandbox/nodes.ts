// What runs on a node of the rack: gobgpd under its supervisor, and the agent. Both in the node's network namespace
// and its `system` cgroup, configured from the address plan alone.

import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { isRecord } from '../model/is-record.ts'
import type { NodePlan, UplinkPlan } from './address-plan.ts'
import { demand, type Host } from './host.ts'
import { formatNetwork } from './ip-arithmetic.ts'
import { apiCaFile, nodeBpffs, nodeTokenFile } from './names.ts'
import { findProcess, identify, type ProcessIdentity, startProcess, stopProcess } from './process.ts'
import type { Rack } from './rack.ts'
import { waitUntil } from './wait.ts'
import { writeIfChanged } from './write-if-changed.ts'

const GOBGPD = '/usr/bin/gobgpd'
const SUPERVISOR = fileURLToPath(new URL('../speaker/gobgpd-supervisor.sh', import.meta.url))
/** The command, of this checkout. */
export const WEIR = fileURLToPath(new URL('../../tools/weir.mjs', import.meta.url))
const READY_MS = 60_000
/** A young generation of 2 MiB keeps an idle agent small; its work is bursts of short-lived rows. */
const NODE_FLAGS = ['--max-semi-space-size=2', '--disable-warning=ExperimentalWarning']

export function gobgpSocket(host: Host): string {
  return `${host.directory}/gobgpd.sock`
}

export function agentSocket(host: Host): string {
  return `${host.directory}/agent.sock`
}

/** Writes the agent's configuration, which gobgpd's boot file is derived from; touched only if it differs. */
export function writeAgentConfig(rack: Rack, node: NodePlan): void {
  const host = rack.host(node.name)
  mkdirSync(nodeBpffs(rack.name, node.name), { recursive: true })
  const config = merge(agentConfig(rack, node), rack.plan.agent)
  writeIfChanged(`${host.directory}/agent.yaml`, stringify(config), 0o600)
}

/** Starts gobgpd unless it runs, and waits until it answers on its socket. */
export async function startGobgpd(rack: Rack, node: NodePlan): Promise<void> {
  const host = rack.host(node.name)
  const bootFile = `${host.directory}/gobgpd.toml`
  const isChanged = await writeBootFile(host, bootFile)
  const pidFile = `${host.directory}/gobgpd.pid`
  const running = findProcess(pidFile)
  if (running && !isChanged) return
  await stopProcess(pidFile)
  const logFile = `${host.directory}/gobgpd.log`
  const identity = await startProcess({
    name: `gobgpd of ${node.name}`,
    namespace: host.namespace,
    cgroup: host.systemCgroup,
    argv: [
      ...['/bin/sh', SUPERVISOR, `${host.directory}/drain`, GOBGPD, '-t', 'toml', '-f', bootFile],
      ...[`--api-hosts=unix://${gobgpSocket(host)}`, '--pprof-disable', '--log-plain'],
    ],
    logFile,
    pidFile,
  })
  const isReady = (): Promise<boolean> => accepts(gobgpSocket(host))
  await waitUntil(`gobgpd of ${node.name}`, READY_MS, isReady, { identity, logFile })
}

/** Starts the agent unless it runs with this configuration, and waits until it answers on its local socket. */
export async function startAgent(rack: Rack, node: NodePlan): Promise<void> {
  const host = rack.host(node.name)
  const pidFile = `${host.directory}/agent.pid`
  const logFile = `${host.directory}/agent.log`
  let identity = isNewer(pidFile, `${host.directory}/agent.yaml`) ? findProcess(pidFile) : undefined
  if (!identity) {
    await stopProcess(pidFile)
    rmSync(agentSocket(host), { force: true })
    identity = await startProcess({
      name: `weir agent of ${node.name}`,
      namespace: host.namespace,
      cgroup: host.systemCgroup,
      argv: [process.execPath, ...NODE_FLAGS, WEIR, 'agent', '--config', `${host.directory}/agent.yaml`],
      logFile,
      pidFile,
    })
  }
  const isReady = (): Promise<boolean> => accepts(agentSocket(host))
  await waitUntil(`weir agent of ${node.name}`, READY_MS, isReady, { identity, logFile })
}

/** The gobgpd below its supervisor; undefined while there is none. */
export function gobgpdBelow(supervisor: number): ProcessIdentity | undefined {
  try {
    const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8').trim().split(' ')
    return children
      .filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'gobgpd')
      .map((pid) => identify(Number(pid)))[0]
  } catch {
    return undefined
  }
}

/** Objects are merged key by key; anything else replaces what was there. */
function merge(base: unknown, over: unknown): unknown {
  if (!isRecord(base) || !isRecord(over)) return over === undefined ? base : over
  const keys = new Set([...Object.keys(base), ...Object.keys(over)])
  return Object.fromEntries([...keys].map((key) => [key, merge(base[key], over[key])]))
}

function agentConfig(rack: Rack, node: NodePlan): Record<string, unknown> {
  const host = rack.host(node.name)
  const { families } = node
  const { pools } = rack.plan.bases
  return {
    nodeName: node.name,
    stateDirectory: host.directory,
    kubernetes: {
      servers: [`https://127.0.0.1:${rack.apiPort}`],
      caFile: apiCaFile(rack.name),
      tokenFile: nodeTokenFile(rack.name, node.name),
    },
    datapath: {
      bpffs: nodeBpffs(rack.name, node.name),
      cgroup: host.cgroup,
      uplinks: node.uplinks.map((uplink) => uplink.interface),
    },
    services: { forwarding: 'dsr' },
    routing: {
      gobgp: `unix://${gobgpSocket(host)}`,
      asn: node.asn,
      routerId: node.loopback.ipv4,
      loopbacks: families.map((family) => `${node.loopback[family]}/${family === 'ipv4' ? 32 : 128}`),
      podCidrs: families.map((family) => node.podCidr[family]),
      uplinks: { defaultRoute: 'manage' },
      peers: node.uplinks.flatMap((uplink) => peersOf(node, uplink, rack.plan.isUnnumbered)),
    },
    pools: [{ name: 'default', prefixes: [formatNetwork(pools.ipv4), formatNetwork(pools.ipv6)] }],
  }
}

function peersOf({ families }: NodePlan, uplink: UplinkPlan, isUnnumbered: boolean): readonly object[] {
  const { tor, torAsn: asn, interface: device, peer, local } = uplink
  if (isUnnumbered) return [{ name: tor, interface: device, asn, bfd: true }]
  // The ToR's name finds the session of the node's first family; the other's is named after it.
  return families.map((family, index) => ({
    name: index === 0 ? tor : `${tor}-${family}`,
    address: peer[family],
    asn,
    localAddress: local[family],
    family,
    bfd: true,
  }))
}

/** Writes gobgpd's boot file as on any node: by `weir speaker`, from the agent's configuration. True if it changed. */
async function writeBootFile(host: Host, bootFile: string): Promise<boolean> {
  const config = `${host.directory}/agent.yaml`
  if (isNewer(bootFile, config)) return false
  const before = existsSync(bootFile) ? readFileSync(bootFile, 'utf8') : undefined
  await demand({}, [process.execPath, WEIR, 'speaker', 'boot-config', '--config', config, '--out', bootFile])
  return readFileSync(bootFile, 'utf8') !== before
}

/** Whether `file` is there and was written after `other`: then what is made from `other` is up to date. */
function isNewer(file: string, other: string): boolean {
  return existsSync(file) && statSync(file).mtimeMs > statSync(other).mtimeMs
}

/** Whether somebody listens on this Unix socket. */
export function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    const answer = (isListening: boolean): void => {
      socket.destroy()
      resolve(isListening)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
  })
}
