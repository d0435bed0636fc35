// Joins policy's loop to the tables, the kernel and the flows, where policy is enforced.

import { steadyNowMs } from '../model/steady-clock.ts'
import { networkNamespaceCookie } from '../sys/libc/sockets.ts'
import { ClosedPods } from './closed-pods.ts'
import { failSafePorts } from './fail-safe-ports.ts'
import type { Ground } from './ground.ts'
import { lookInside } from './inner-look.ts'
import { PolicyLoop } from './policy-loop.ts'
import type { PolicySources } from './policy-sources.ts'
import { apiSlicesOf } from './policy-world.ts'

export interface Policy {
  readonly loop: PolicyLoop
  readonly closedPods: ClosedPods
}

/** Policy from when all of it is known: at once, or later than Services, which do not wait for what the agent's role does not grant. */
export class PolicyStart {
  #policy: Policy | undefined
  #isNetworkWritten = false
  #isClosed = false

  /** @param sources undefined: nothing is enforced */
  constructor(
    sources: Pick<PolicySources, 'isSynced' | 'synced'> | undefined,
    start: () => Policy | undefined,
  ) {
    const begin = () => {
      if (this.#isClosed) return
      this.#policy = start()
      if (this.#isNetworkWritten) this.#policy?.closedPods.networkWritten()
    }
    if (sources === undefined) return
    if (sources.isSynced) begin()
    else void sources.synced.then(begin)
  }

  /** Whether its rows are in the kernel, and pods that they do not know are closed. */
  get hasBegun(): boolean {
    return (this.#policy?.loop.isSettled && this.#policy.closedPods.hasBegun) ?? false
  }

  get loop(): PolicyLoop | undefined {
    return this.#policy?.loop
  }

  get closedPods(): ClosedPods | undefined {
    return this.#policy?.closedPods
  }

  /** Its first rows are in the kernel, or it waits for what may not be read. */
  get isFirstWritten(): Promise<void> {
    return this.#policy?.loop.begun ?? Promise.resolve()
  }

  /** As `ClosedPods.networkWritten`. */
  networkWritten(): void {
    this.#isNetworkWritten = true
    this.#policy?.closedPods.networkWritten()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#policy?.closedPods.close()
    await this.#policy?.loop.close()
  }
}

/** @returns what policy waits for, and why; none where it is not enforced */
export function policyWaitsFor(
  sources: Pick<PolicySources, 'problems'> | undefined,
  start: Pick<PolicyStart, 'hasBegun'> | undefined,
): readonly string[] {
  if (sources === undefined || start?.hasBegun) return []
  return sources.problems.length > 0 ? sources.problems : ['policy is not written yet']
}

export function startPolicy(ground: Ground): Policy | undefined {
  const { config, datapath, sources, policySources, policyRules, events, log } = ground
  const { policy: maps } = datapath
  if (maps === undefined || policySources === undefined || policyRules === undefined) return undefined
  const { services, slices, unserved, nodes } = sources
  const closedPods = startClosedPods(ground, policySources.pods)
  const loop = new PolicyLoop({
    node: config.nodeName,
    tables: { services, slices, unserved, nodes, policy: policySources },
    maps,
    limits: datapath.policyLimits,
    existingConnections: config.policy.existingConnections,
    rules: policyRules,
    failSafePorts: () =>
      failSafePorts(
        config.policy.failSafePorts,
        config.kubernetes.servers,
        apiSlicesOf({ slices }),
        nodes.get(config.nodeName)?.addresses ?? [],
      ),
    onTaken: () => closedPods.policyTaken(),
    events,
    log,
  })
  return { loop, closedPods }
}

function startClosedPods(
  { config, datapath, network, events, log }: Ground,
  pods: PolicySources['pods'],
): ClosedPods {
  return new ClosedPods({
    nodeName: config.nodeName,
    configured: config.policy.podsCgroup,
    mount: config.datapath.cgroup,
    pods,
    devices: () => network.pods().pods,
    kernel: datapath,
    cookieOfProcess: (pid) => networkNamespaceCookie(`/proc/${pid}/ns/net`),
    lookInside,
    nowMs: steadyNowMs,
    events,
    log,
  })
}
