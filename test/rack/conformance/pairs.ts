// The cluster of the policy cases (test/policy/cases) in a rack: nine pods on two nodes, a Service for each, and in every pod a peer
// (peer.ts) that asks all of them at once. A case's objects go into the API server, and every pair is asked, at each port and by each
// protocol, in one family straight and in the other by the Service, until all is as its table says.
//
// A table that already held before proves nothing: between cases everything is seen open, and a step whose table is the one before it is
// refused.

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { createKubeClient, type KubeClient } from '../../../src/kube/client.ts'
import { NAMESPACES, PODS, type Resource } from '../../../src/kube/objects.ts'
import { POLICY_RESOURCES } from '../../../src/kube/policies/resources.ts'
import type { PolicyKind } from '../../../src/model/policy.ts'
import { type Host, podHost } from '../../../src/sandbox/host.ts'
import { apiCaFile, hostDirectory } from '../../../src/sandbox/names.ts'
import {
  CASE_CONTAINER_PORTS,
  CASE_HOST_PODS,
  CASE_NAMESPACES,
  CASE_NODES,
  CASE_PODS,
  CASE_PORTS,
  CASE_PROBES,
  type CaseObject,
  type CasePod,
  type CaseProbe,
  type CaseStep,
  type PolicyCase,
} from '../../policy/cases/cluster.ts'
import type { Bed } from './bed.ts'
import { pod, service } from './manifests.ts'
import type { PeerAnswer, PeerOrder, PeerTarget } from './peer.ts'
import { HostProgram } from './probes.ts'

const PEER = fileURLToPath(new URL('peer.ts', import.meta.url))
/** A Service's port is its pods' and this: policy that looked at the wrong one would be seen. */
const SERVICE_PORT_OFFSET = 1000
const CHANGE_MS = 8000
/** A test that has failed learns nothing by waiting so long again. */
const FAILED_CHANGE_MS = 1500
const PATIENCE_MS = 700
const SILENCE_MS = 150
const PAUSE_MS = 20
const SHOWN_MAX = 12
const MANAGER = 'policy-cases'

/** One connection to be tried. */
interface Pair {
  readonly from: CasePod
  readonly to: CasePod
  readonly probe: CaseProbe
  readonly isByService: boolean
  /** Where it stands on the chessboard of pairs, ports and families, straight and by Service. */
  readonly isWhite: boolean
}

const PAIRS: readonly Pair[] = CASE_PODS.flatMap((from, row) =>
  CASE_PODS.flatMap((to, column) =>
    CASE_PROBES.flatMap((probe, index) =>
      [0, 1].map((service) => {
        // A port is asked for in one family straight, and in the other by the Service.
        const corner = row + column + index + (probe.family === 4 ? 0 : 1) + service
        return { from, to, probe, isByService: service === 1, isWhite: corner % 2 === 0 }
      }),
    ),
  ),
)

/** As it is asked, and what it is called. */
interface Ask {
  readonly text: string
  readonly target: PeerTarget
}

const OPEN: CaseStep = { what: 'without policies', objects: () => [], isBlocked: () => false }

function isWanted({ from, to, probe, isByService }: Pair, step: CaseStep): boolean {
  if (from !== to) return !step.isBlocked(from, to, probe)
  return !isByService || !(step.isHairpinBlocked?.(to, probe) ?? false)
}

function textOf({ from, to, probe, isByService }: Pair): string {
  const { port, protocol, family } = probe
  return `${from.key} → ${to.key} ${port}/${protocol} IPv${family}${isByService ? ' by Service' : ''}`
}

export class Pairs {
  readonly #bed: Bed
  readonly #client: KubeClient
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #clusterIps = new Map<string, readonly string[]>()
  readonly #peers = new Map<string, HostProgram>()
  /** What is in the API server, by kind and name. */
  readonly #inForce = new Map<string, CaseObject>()
  readonly #labelled = new Map<string, readonly string[]>()
  #last: CaseStep = OPEN
  #steps = 0

  private constructor(bed: Bed) {
    this.#bed = bed
    const { rack } = bed
    this.#client = createKubeClient({
      servers: [`https://127.0.0.1:${rack.apiPort}`],
      caFile: apiCaFile(rack.name),
      tokenFile: `${hostDirectory(rack.name, 'control')}/admin-token`,
    })
  }

  static async up(bed: Bed): Promise<Pairs> {
    const pairs = new Pairs(bed)
    await bed.apply(
      ...CASE_NAMESPACES.map((name) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name, labels: { ns: name } },
      })),
    )
    await bed.apply(
      ...CASE_PODS.flatMap((one) => [podOf(one), serviceOf(one)]),
      ...CASE_HOST_PODS.map(hostPodOf),
    )
    await Promise.all(CASE_NAMESPACES.map((name) => bed.waitForPods('pod', name)))
    await Promise.all(CASE_PODS.map((one) => pairs.#meet(one)))
    for (const node of CASE_NODES) pairs.#start(node, bed.rack.host(node))
    return pairs
  }

  /** IPv4 and IPv6. */
  addressOf = (key: string): readonly [string, string] => {
    const [ipv4 = '', ipv6 = ''] = this.#addresses.get(key) ?? []
    return [ipv4, ipv6]
  }

  clusterIpsOf(key: string): readonly string[] {
    return this.#clusterIps.get(key) ?? []
  }

  /** Everybody reaches everybody, by every way there is. */
  async open(t: Test): Promise<void> {
    await this.#until(t, OPEN, PAIRS)
  }

  /** Each step from the one before; the first from a cluster without policies, which is seen to be open. */
  async show(t: Test, { steps }: PolicyCase): Promise<void> {
    await this.clear(t)
    for (const step of steps) await this.step(t, step)
  }

  async clear(t: Test): Promise<void> {
    if (isSameTable(this.#last, OPEN)) await this.#put(OPEN)
    else await this.step(t, OPEN)
  }

  async step(t: Test, step: CaseStep): Promise<void> {
    if (isSameTable(this.#last, step)) t.fail(`${step.what}: it would be seen without the step as well`)
    await this.#put(step)
    this.#last = step
    // Half of the ways, the other half in the next step: it costs half the time, and no rule knows of the ways.
    this.#steps += 1
    await this.#until(
      t,
      step,
      PAIRS.filter(({ isWhite }) => isWhite === (this.#steps % 2 === 0)),
    )
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close()
    this.#client.close()
  }

  async #meet({ key, namespace, name, node }: CasePod): Promise<void> {
    this.#start(key, podHost(this.#bed.rack.name, node, { namespace, name }))
    const { status } = await this.#client.get(PODS, { namespace, name })
    this.#addresses.set(
      key,
      (status?.podIPs ?? []).map(({ ip }) => ip),
    )
    this.#clusterIps.set(key, (await this.#bed.serviceAddresses(name, namespace)).clusterIps)
  }

  #start(name: string, host: Host): void {
    this.#peers.set(name, new HostProgram(host, [PEER, name, ...CASE_PORTS.map(String)]))
  }

  /** Makes the API server hold what the step says, and nothing else of what a step before said. */
  async #put({ objects, labels = {} }: CaseStep): Promise<void> {
    const wanted = new Map(objects(this.addressOf).map((object) => [nameOf(object), object]))
    const work: Promise<unknown>[] = []
    for (const [name, object] of this.#inForce)
      if (!wanted.has(name)) {
        work.push(this.#client.delete(resourceOf(object), object.metadata))
        this.#inForce.delete(name)
      }
    for (const [name, object] of wanted)
      if (JSON.stringify(this.#inForce.get(name)) !== JSON.stringify(object)) {
        const options = { kind: 'apply', fieldManager: MANAGER, force: true } as const
        work.push(this.#client.patch(resourceOf(object), object.metadata, object, options))
        this.#inForce.set(name, object)
      }
    for (const key of new Set([...this.#labelled.keys(), ...Object.keys(labels)]))
      work.push(this.#label(key, labels[key] ?? {}))
    await Promise.all(work)
  }

  async #label(key: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const gone = (this.#labelled.get(key) ?? []).filter((name) => !(name in labels))
    const patch = {
      metadata: { labels: { ...Object.fromEntries(gone.map((name) => [name, null])), ...labels } },
    }
    if (Object.keys(labels).length > 0) this.#labelled.set(key, Object.keys(labels))
    else this.#labelled.delete(key)
    const [namespace, name] = key.split('/')
    const options = { kind: 'merge' } as const
    if (name === undefined) await this.#client.patch(NAMESPACES, { name: key }, patch, options)
    else await this.#client.patch(PODS, { namespace, name }, patch, options)
  }

  async #until(t: Test, step: CaseStep, asked: readonly Pair[]): Promise<void> {
    const end = Date.now() + (t.passing() ? CHANGE_MS : FAILED_CHANGE_MS)
    let wrong = await this.#differences(step, asked)
    while (wrong.length > 0 && Date.now() < end) {
      await sleep(PAUSE_MS)
      wrong = await this.#differences(step, asked)
    }
    t.strictSame(wrong.slice(0, SHOWN_MAX), [], step.what)
  }

  async #differences(step: CaseStep, asked: readonly Pair[]): Promise<string[]> {
    const wrong = await Promise.all(
      CASE_PODS.map(async (from) => {
        const asks = [
          ...asked.filter((pair) => pair.from === from).map((pair) => this.#pairAsk(pair, step)),
          ...this.#nodeAsks(from, step),
        ]
        const targets = asks.map(({ target }) => target)
        const answered = new Set(await this.#ask(from.key, targets))
        // A round that ended early has not heard everyone out: then it tells of who should have been silent alone.
        const isEarly = [...answered].some((index) => !targets[index]?.isWanted)
        return asks.flatMap(({ text, target: { isWanted } }, index) => {
          if (answered.has(index)) return isWanted ? [] : [`${text}: got through`]
          return isWanted && !isEarly ? [`${text}: did not get through`] : []
        })
      }),
    )
    return wrong.flat()
  }

  #pairAsk(pair: Pair, step: CaseStep): Ask {
    const { to, probe, isByService } = pair
    const { port, protocol, family } = probe
    const addresses = isByService ? this.clusterIpsOf(to.key) : this.addressOf(to.key)
    const target = {
      address: addresses[family === 4 ? 0 : 1] ?? '',
      port: isByService ? port + SERVICE_PORT_OFFSET : port,
      protocol,
      name: to.key,
      isWanted: isWanted(pair, step),
    }
    return { text: textOf(pair), target }
  }

  #nodeAsks(from: CasePod, { isNodeBlocked }: CaseStep): Ask[] {
    if (!isNodeBlocked) return []
    return CASE_NODES.flatMap((node, index) =>
      CASE_PROBES.map((probe) => {
        const { port, protocol, family } = probe
        const address = this.#bed.nodeAddresses(index + 1)[family === 4 ? 0 : 1] ?? ''
        return {
          text: `${from.key} → ${node} ${port}/${protocol} IPv${family}`,
          target: { address, port, protocol, name: node, isWanted: !isNodeBlocked(from, node, probe) },
        }
      }),
    )
  }

  async #ask(from: string, targets: readonly PeerTarget[]): Promise<readonly number[]> {
    const order: PeerOrder = { targets, patienceMs: PATIENCE_MS, silenceMs: SILENCE_MS }
    const peer = this.#peers.get(from)
    if (!peer) throw new Error(`no peer runs in ${from}`)
    return ((await peer.ask(order)) as PeerAnswer).answered
  }
}

function isSameTable(one: CaseStep, other: CaseStep): boolean {
  return PAIRS.every((pair) => isWanted(pair, one) === isWanted(pair, other))
}

function nameOf({ kind, metadata }: CaseObject): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name}`
}

function resourceOf({ kind }: CaseObject): Resource {
  return POLICY_RESOURCES[kind as PolicyKind]
}

function podOf({ namespace, name, node }: CasePod) {
  return pod(name, {
    ...{ namespace, node, labels: { pod: name } },
    spec: { containers: [{ name: 'peer', image: 'pause', ports: CASE_CONTAINER_PORTS }] },
  })
}

function hostPodOf({ name, node }: (typeof CASE_HOST_PODS)[number]) {
  return pod(name, {
    ...{ namespace: 'x', node, labels: { pod: name }, isHostNetwork: true },
    spec: { containers: [{ name: 'host', image: 'pause' }] },
  })
}

function serviceOf({ namespace, name }: CasePod) {
  const ports = CASE_CONTAINER_PORTS.map(({ name, containerPort, protocol }) => ({
    name,
    protocol,
    port: containerPort + SERVICE_PORT_OFFSET,
    targetPort: name,
  }))
  return service(name, { selector: { pod: name }, ports }, { namespace })
}
