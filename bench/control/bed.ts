// Where the benchmark runs: a network namespace of its own with one uplink, pins and a cgroup under names of this process, the API
// server and the agent as child processes in there. All of it goes with close(), and with the next test run if this one is killed
// (the names are those that tools/test-leftovers.ts knows).

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { removeCgroup } from '../../src/sandbox/cgroups.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { BPFFS_MOUNT } from '../../src/sandbox/names.ts'
import { end, hasEnded, ip, nextMessage } from '../frame/children.ts'
import type { PolicyClusterSize } from '../policy/objects.ts'
import { API_PORT, agentConfig } from './agent-config.ts'
import type { ProbeReading } from './agent-probe.ts'
import type { ApiProcessOptions, EndpointChange, ObjectRequest } from './api-process.ts'
import type { ClusterSize } from './cluster.ts'

export const GOBGPD = '/usr/bin/gobgpd'
const SAMPLE_MS = 20
const PATIENCE_MS = 60_000
/** pino's number. */
const WARNING = 40
const WARNINGS_SHOWN = 5
const root = fileURLToPath(new URL('../..', import.meta.url))
/** As a rack's agents run, see src/sandbox/nodes.ts. */
const NODE_FLAGS = ['--max-semi-space-size=2', '--disable-warning=ExperimentalWarning']

export interface LogLine {
  readonly time: number
  readonly msg: string
  readonly level: number
}

/** A running agent. */
export interface MeasuredAgent {
  readonly startedMs: number
  readonly pid: number
  /** Resolves with the first log line that says so; rejects when the agent ends before. */
  said(text: string): Promise<LogLine>
  /**
   * Starts the probe's figures anew.
   * @param profileFile gets a CPU profile of what happens until `read`
   */
  reset(isSampling: boolean, profileFile?: string): Promise<void>
  read(): Promise<ProbeReading & { readonly rssAnonPeakBytes: number }>
  rssAnonBytes(): number
  /** How long its main thread has been ready to run while others had the cores. */
  waitedMs(): number
  kill(): Promise<void>
}

export class Bed {
  readonly pins: string
  readonly #directory = mkdtempSync(join(tmpdir(), `weir-tests-${process.pid}-`))
  readonly #namespaces = [`weir-t${process.pid}bench`, `weir-t${process.pid}peer`] as const
  readonly #cgroup = `${cgroupMount()}/weir-test-bench-${process.pid}`
  readonly #children = new Set<ChildProcess>()
  #closed: Promise<void> | undefined

  /** @param sections of the agent's configuration, besides the usual */
  constructor(sections: Readonly<Record<string, unknown>> = {}) {
    this.pins = `${BPFFS_MOUNT}/weir-test-bench-${process.pid}`
    mkdirSync(this.#cgroup)
    const [own, peer] = this.#namespaces
    for (const name of this.#namespaces) {
      ip('netns', 'add', name)
      ip('-n', name, 'link', 'set', 'lo', 'up')
    }
    ip('-n', own, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'peer0', 'netns', peer)
    ip('-n', own, 'addr', 'add', '10.95.0.1/24', 'dev', 'up0')
    ip('-n', peer, 'addr', 'add', '10.95.0.2/24', 'dev', 'peer0')
    ip('-n', own, 'link', 'set', 'up0', 'up')
    ip('-n', peer, 'link', 'set', 'peer0', 'up')
    ip('-n', own, 'route', 'add', 'default', 'via', '10.95.0.2')
    this.#writeConfig(sections)
  }

  /** Resolves when it listens. @returns what changes endpoints, and tells when watches were told */
  async startApi(size: ClusterSize): Promise<(changes: readonly EndpointChange[]) => Promise<bigint[]>> {
    const child = await this.#startApi({ size })
    return async (change) => {
      const answer = nextMessage<{ sent: string[] }>(child, 'sent')
      child.send({ change })
      return (await answer).sent.map(BigInt)
    }
  }

  /** The same with pods and policies. @returns what asks it, and tells when watches were told */
  async startPolicyApi(
    size: ClusterSize,
    policy: PolicyClusterSize,
  ): Promise<(request: ObjectRequest) => Promise<bigint>> {
    const child = await this.#startApi({ size, policy })
    return async (request) => {
      const answer = nextMessage<{ sent: string[] }>(child, 'sent')
      child.send({ request })
      return BigInt((await answer).sent[0] ?? '0')
    }
  }

  async #startApi(what: Pick<ApiProcessOptions, 'size' | 'policy'>): Promise<ChildProcess> {
    const options: ApiProcessOptions = { ...what, directory: this.#directory, port: API_PORT }
    const child = this.#spawn(
      ['--max-old-space-size=8192', join(root, 'bench/control/api-process.ts'), JSON.stringify(options)],
      'inherit',
    )
    await nextMessage(child, 'ready')
    return child
  }

  /** gobgpd without peers, where there is one: what the agent announces goes there. */
  startGobgpd(): boolean {
    if (!existsSync(GOBGPD)) return false
    const args = [`--api-hosts=unix://${this.#directory}/gobgpd.sock`, '--pprof-disable', '--log-plain']
    this.#enter([GOBGPD, ...args], 'ignore')
    return true
  }

  /** @param profileFile gets a CPU profile of what happens until the probe is first asked */
  startAgent(profileFile?: string): MeasuredAgent {
    const probe = join(root, 'bench/control/agent-probe.ts')
    const startedMs = Date.now()
    const config = `${this.#directory}/agent.yaml`
    const child = this.#spawn(
      [...NODE_FLAGS, '--import', probe, join(root, 'tools/weir.mjs'), 'agent', '--config', config],
      'pipe',
      profileFile === undefined ? {} : { WEIR_BENCH_PROFILE: profileFile },
    )
    return new AgentProcess(child, startedMs)
  }

  /** Ends the API server and the agent; pins stay. */
  async stopProcesses(): Promise<void> {
    await Promise.all([...this.#children].map(end))
    this.#children.clear()
  }

  /** Once: it may be asked for again. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.stopProcesses()
    for (const name of this.#namespaces) ip('netns', 'del', name)
    rmSync(this.pins, { recursive: true, force: true })
    await removeCgroup(this.#cgroup)
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #spawn(
    args: readonly string[],
    output: 'inherit' | 'pipe',
    env: Record<string, string> = {},
  ): ChildProcess {
    return this.#enter([process.execPath, ...args], output, env)
  }

  #enter(
    argv: readonly string[],
    output: 'inherit' | 'pipe' | 'ignore',
    env: Record<string, string> = {},
  ): ChildProcess {
    const child = spawn('nsenter', [`--net=/run/netns/${this.#namespaces[0]}`, '--', ...argv], {
      stdio: ['ignore', output, output === 'ignore' ? 'ignore' : 'inherit', 'ipc'],
      env: { ...process.env, ...env },
    })
    this.#children.add(child)
    return child
  }

  #writeConfig(sections: Readonly<Record<string, unknown>>): void {
    const directory = this.#directory
    const place = { directory, bpffs: this.pins, cgroup: this.#cgroup, uplinks: ['up0'] }
    const config = agentConfig(place, { asn: 65_000 }, sections)
    writeFileSync(`${directory}/agent.yaml`, stringify(config))
  }
}

class AgentProcess implements MeasuredAgent {
  readonly startedMs: number
  readonly #child: ChildProcess
  readonly #lines: LogLine[] = []
  readonly #waiting = new Map<string, (line: LogLine) => void>()
  readonly #sampler: NodeJS.Timeout
  #peakBytes = 0
  #warnings = 0

  constructor(child: ChildProcess, startedMs: number) {
    this.#child = child
    this.startedMs = startedMs
    if (!child.stdout) throw new TypeError('the agent needs a piped output')
    createInterface({ input: child.stdout }).on('line', (text) => this.#note(text))
    this.#sampler = setInterval(() => {
      this.#peakBytes = Math.max(this.#peakBytes, this.rssAnonBytes())
    }, SAMPLE_MS)
    child.once('exit', () => clearInterval(this.#sampler))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  said(text: string): Promise<LogLine> {
    const known = this.#lines.find(({ msg }) => msg === text)
    if (known) return Promise.resolve(known)
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${why} before the agent said '${text}'`))
      if (hasEnded(this.#child)) return fail('it ended')
      const timer = setTimeout(() => fail(`${PATIENCE_MS / 1000} s went by`), PATIENCE_MS)
      this.#child.once('exit', () => fail('it ended'))
      this.#waiting.set(text, (line) => {
        clearTimeout(timer)
        resolve(line)
      })
    })
  }

  async reset(isSampling: boolean, profileFile?: string): Promise<void> {
    await this.#ask({ probe: 'reset', isSampling, profileFile })
    this.#peakBytes = 0
  }

  async read(): Promise<ProbeReading & { readonly rssAnonPeakBytes: number }> {
    return { ...(await this.#ask({ probe: 'read' })), rssAnonPeakBytes: this.#peakBytes }
  }

  rssAnonBytes(): number {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, 'utf8')
      return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
    } catch {
      return 0
    }
  }

  /** Documentation/scheduler/sched-stats.rst: time on a processor, time waited for one, both in nanoseconds. */
  waitedMs(): number {
    return Number(readFileSync(`/proc/${this.pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6
  }

  async kill(): Promise<void> {
    clearInterval(this.#sampler)
    await end(this.#child)
  }

  async #ask(question: object): Promise<ProbeReading> {
    const answer = nextMessage<{ reading: ProbeReading }>(this.#child, 'reading')
    this.#child.send(question)
    return (await answer).reading
  }

  #note(text: string): void {
    if (!text.startsWith('{')) {
      process.stderr.write(`${text}\n`)
      return
    }
    const line = JSON.parse(text) as LogLine
    this.#lines.push(line)
    this.#waiting.get(line.msg)?.(line)
    if (line.level < WARNING) return
    this.#warnings += 1
    if (this.#warnings <= WARNINGS_SHOWN) process.stderr.write(`agent: ${text.slice(0, 400)}\n`)
  }
}

/** Nothing where there is none. */
export function gobgpdVersion(): Record<string, string> {
  if (!existsSync(GOBGPD)) return {}
  const text = execFileSync(GOBGPD, ['--version'], { encoding: 'utf8' })
  return { gobgpd: text.trim().replace(/^gobgpd version /, '') }
}
