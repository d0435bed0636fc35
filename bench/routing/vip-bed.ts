// A node between two real ToRs: the API server, gobgpd under its supervisor and the agent, as on a node of a rack, with as many
// Services as are wanted. Names are those that tools/test-leftovers.ts knows; everything goes with close().

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { removeCgroup } from '../../src/sandbox/cgroups.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { BPFFS_MOUNT } from '../../src/sandbox/names.ts'
import { API_PORT, agentConfig } from '../control/agent-config.ts'
import type { ApiProcessOptions, ObjectPatch } from '../control/api-process.ts'
import { type ClusterSize, nodeAddress, OWN_NODE, VIP_POOL } from '../control/cluster.ts'
import { end, ip, nextMessage } from '../frame/children.ts'
import { NODE_ASN, startTor, type Tor, torsOf } from './routers.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const WEIR = join(root, 'tools/weir.mjs')
const SUPERVISOR = join(root, 'src/speaker/gobgpd-supervisor.sh')
/** As a rack's agents run, see src/sandbox/nodes.ts. */
const NODE_FLAGS = ['--max-semi-space-size=2', '--disable-warning=ExperimentalWarning']
const POD_NETWORK = '10.128.0.0/9'
const LOG_LINES_SHOWN = 20

/** Writes one object. @returns when the request began, in nanoseconds of the monotonic clock */
export type Write = (patch: ObjectPatch) => Promise<bigint>

export class VipBed {
  readonly tors: readonly Tor[]
  /** Not in TMPDIR: FRR's daemons, which are not root, have their files below it, and a test's own TMPDIR is root's alone. */
  readonly #directory = mkdtempSync(`/tmp/weir-tests-${process.pid}-`)
  readonly #node = `weir-t${process.pid}node`
  readonly #pins = `${BPFFS_MOUNT}/weir-test-routing-${process.pid}`
  readonly #cgroup = `${cgroupMount()}/weir-test-routing-${process.pid}`
  readonly #children: ChildProcess[] = []
  #closed: Promise<void> | undefined

  constructor() {
    chmodSync(this.#directory, 0o755)
    mkdirSync(this.#cgroup)
    this.tors = torsOf(`weir-t${process.pid}`)
    for (const namespace of [this.#node, ...this.tors.map((tor) => tor.namespace)]) {
      ip('netns', 'add', namespace)
      ip('-n', namespace, 'link', 'set', 'lo', 'up')
    }
    for (const { namespace, device, address, nodeAddress: own } of this.tors) {
      ip(
        '-n',
        this.#node,
        'link',
        'add',
        device,
        'type',
        'veth',
        'peer',
        'name',
        'to-node',
        'netns',
        namespace,
      )
      ip('-n', this.#node, 'addr', 'add', `${own}/31`, 'dev', device)
      ip('-n', namespace, 'addr', 'add', `${address}/31`, 'dev', 'to-node')
      ip('-n', this.#node, 'link', 'set', device, 'up')
      ip('-n', namespace, 'link', 'set', 'to-node', 'up')
    }
    const hops = this.tors.flatMap(({ address }) => ['nexthop', 'via', address])
    ip('-n', this.#node, 'route', 'add', 'default', ...hops)
  }

  /** Everything but the agent. @returns what writes to the API server */
  async start(size: ClusterSize): Promise<Write> {
    const accepted = [VIP_POOL, POD_NETWORK, `${nodeAddress(OWN_NODE)}/32`]
    const begin = (namespace: string, argv: readonly string[]) => void this.#start(namespace, argv, 'routers')
    for (const tor of this.tors) await startTor(tor, accepted, `${this.#directory}/${tor.name}`, begin)
    const options: ApiProcessOptions = { size, directory: this.#directory, port: API_PORT }
    const api = this.#start(
      this.#node,
      [
        process.execPath,
        '--max-old-space-size=8192',
        join(root, 'bench/control/api-process.ts'),
        JSON.stringify(options),
      ],
      'api',
    )
    await nextMessage(api, 'ready')
    this.#writeConfig()
    this.#startGobgpd()
    return async (patch) => {
      const answer = nextMessage<{ sent: string[] }>(api, 'sent')
      api.send({ patch })
      return BigInt((await answer).sent[0] ?? '0')
    }
  }

  startAgent(): void {
    this.#start(
      this.#node,
      [process.execPath, ...NODE_FLAGS, WEIR, 'agent', '--config', this.#config],
      'agent',
    )
  }

  /** The end of a log, for whoever waits in vain. */
  log(name: 'agent' | 'gobgpd' | 'routers'): string {
    const file = `${this.#directory}/${name}.log`
    if (!existsSync(file)) return '(it was not started)'
    const lines = readFileSync(file, 'utf8').split('\n')
    return lines.slice(-LOG_LINES_SHOWN).join('\n')
  }

  /** Once: it may be asked for again. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  get #config(): string {
    return `${this.#directory}/agent.yaml`
  }

  async #close(): Promise<void> {
    await Promise.all(this.#children.map(end))
    for (const namespace of [this.#node, ...this.tors.map((tor) => tor.namespace)])
      ip('netns', 'del', namespace)
    rmSync(this.#pins, { recursive: true, force: true })
    await removeCgroup(this.#cgroup)
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** As on any node: from the boot file that `weir speaker` makes of the agent's configuration. */
  #startGobgpd(): void {
    const boot = `${this.#directory}/gobgpd.toml`
    const make = [WEIR, 'speaker', 'boot-config', '--config', this.#config, '--out', boot]
    execFileSync(process.execPath, [...NODE_FLAGS, ...make])
    const gobgpd = ['/usr/bin/gobgpd', '-t', 'toml', '-f', boot, '--pprof-disable', '--log-plain']
    const api = `--api-hosts=unix://${this.#directory}/gobgpd.sock`
    this.#start(this.#node, ['/bin/sh', SUPERVISOR, `${this.#directory}/drained`, ...gobgpd, api], 'gobgpd')
  }

  #start(namespace: string, argv: readonly string[], logName: string): ChildProcess {
    const log = openSync(`${this.#directory}/${logName}.log`, 'a')
    const stdio = logName === 'api' ? (['ignore', log, log, 'ipc'] as const) : (['ignore', log, log] as const)
    const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, '--', ...argv], { stdio: [...stdio] })
    this.#children.push(child)
    return child
  }

  #writeConfig(): void {
    const uplinks = this.tors.map(({ device }) => device)
    const place = { directory: this.#directory, bpffs: this.#pins, cgroup: this.#cgroup, uplinks }
    const config = agentConfig(place, {
      asn: NODE_ASN,
      // What holds changes back on purpose is not what is measured.
      maxChangesPerSecond: 1_000_000,
      gates: { holdDownSeconds: 0, damping: false },
      peers: this.tors.map(({ address, nodeAddress: own, asn }) => ({ address, asn, localAddress: own })),
    })
    writeFileSync(this.#config, stringify(config))
  }
}
