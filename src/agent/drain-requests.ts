// `weir drain` and `weir undrain`, as the local API takes them: the wish is written on the Node object, where every agent and every operator
// sees it. With no API server to write to, the agent of the node itself remembers it.

import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { type Node as ApiNode, type Condition, NODES } from '../kube/objects.ts'
import { DRAIN_KEY, NODE_KEYS } from '../model/own-keys.ts'
import { timeText } from '../model/time-text.ts'
import type { DrainPhase } from '../routing/drain.ts'
import { RequestError } from './local-api.ts'
import type { DrainCondition, DrainView, NodeDrain } from './node-drain.ts'

const CORDONED_BY_DRAIN = NODE_KEYS.cordonedByDrain
const DRAIN_CONDITION = 'weir.network/Drained'
/** Whoever waits at a command line is told then that there is no API server. */
const ANSWER_MS = 3000

export interface DrainRequestsOptions {
  readonly client: Pick<KubeClient, 'get' | 'patch'>
  readonly nodeName: string
  readonly drain: NodeDrain
}

export interface DrainAnswer extends DrainView {
  /** Set when the wish could not be written on the Node, and is known to this agent alone. */
  readonly caveat?: string
}

export class DrainRequests {
  readonly #options: DrainRequestsOptions

  constructor(options: DrainRequestsOptions) {
    this.#options = options
  }

  /** @param node this agent's own, or another: then as its agent last wrote it on the Node */
  async show(node: string): Promise<DrainView> {
    const { nodeName, drain, client } = this.#options
    if (node === nodeName) return drain.view()
    try {
      return viewOf(await client.get(NODES, { name: node }, AbortSignal.timeout(ANSWER_MS)))
    } catch (error) {
      throw requestError(node, error)
    }
  }

  async drain(node: string): Promise<DrainAnswer> {
    return await this.#wish(node, true, (object) => ({
      metadata: {
        labels: { [DRAIN_KEY]: '' },
        ...(object.spec?.unschedulable === true ? {} : { annotations: { [CORDONED_BY_DRAIN]: 'true' } }),
      },
      spec: { unschedulable: true },
    }))
  }

  async undrain(node: string): Promise<DrainAnswer> {
    return await this.#wish(node, false, ({ metadata, spec }) => {
      const taints = spec?.taints ?? []
      const others = taints.filter(({ key }) => key !== DRAIN_KEY)
      const cordonedByUs = metadata.annotations?.[CORDONED_BY_DRAIN] !== undefined
      return {
        metadata: { labels: { [DRAIN_KEY]: null }, annotations: { [CORDONED_BY_DRAIN]: null } },
        spec: {
          ...(others.length < taints.length ? { taints: others } : {}),
          ...(cordonedByUs ? { unschedulable: false } : {}),
        },
      }
    })
  }

  async #wish(node: string, isWanted: boolean, patchFor: (object: ApiNode) => unknown): Promise<DrainAnswer> {
    const { client, nodeName, drain } = this.#options
    const isOwn = node === nodeName
    try {
      const signal = AbortSignal.timeout(ANSWER_MS)
      const object = await client.get(NODES, { name: node }, signal)
      await client.patch(NODES, { name: node }, patchFor(object), { kind: 'merge', signal })
    } catch (error) {
      if (!isOwn) throw requestError(node, error)
      drain.setWantedLocally(isWanted)
      const reason = error instanceof Error ? error.message : String(error)
      const still = isWanted ? 'remembers it' : 'forgot it'
      return {
        ...drain.view(),
        caveat: `the Node could not be told (${reason}); the agent of ${node} alone ${still}`,
      }
    }
    if (isOwn && drain.isWantedLocally && !isWanted) drain.setWantedLocally(false)
    return await this.show(node)
  }
}

/** What the agent of that node last told. */
function viewOf({ metadata, spec, status }: ApiNode): DrainView {
  const condition = status?.conditions?.find(({ type }) => type === DRAIN_CONDITION)
  const asks =
    metadata.labels?.[DRAIN_KEY] !== undefined || (spec?.taints ?? []).some(({ key }) => key === DRAIN_KEY)
  return {
    node: metadata.name ?? '',
    phase: phaseOf(condition),
    sinceMs: Date.parse(condition?.lastTransitionTime ?? '') || 0,
    message: condition?.message ?? 'its agent has written nothing on the Node yet',
    wantedBy: asks && spec?.unschedulable === true ? 'node' : undefined,
    packetsPerSecond: undefined,
    nodePortPacketsPerSecond: undefined,
    vips: 0,
  }
}

/** Reasons of conditions are CamelCase. */
const REASONS: Readonly<Record<DrainPhase, string>> = {
  active: 'Active',
  marking: 'Marking',
  waiting: 'Waiting',
  withdrawn: 'Withdrawn',
  drained: 'Drained',
}

function phaseOf(condition: Condition | undefined): DrainPhase {
  const phases = Object.keys(REASONS) as DrainPhase[]
  return phases.find((phase) => REASONS[phase] === condition?.reason) ?? 'active'
}

/** Beside the kubelet's own conditions, which stay as they are. */
export async function writeDrainCondition(
  client: Pick<KubeClient, 'patch'>,
  node: string,
  { isDrained, phase, message, sinceMs }: DrainCondition,
): Promise<void> {
  const condition: Condition = {
    type: DRAIN_CONDITION,
    status: isDrained ? 'True' : 'False',
    reason: REASONS[phase],
    message,
    lastTransitionTime: timeText(sinceMs),
    lastHeartbeatTime: timeText(Date.now()),
  }
  await client.patch(
    NODES,
    { name: node, subresource: 'status' },
    { status: { conditions: [condition] } },
    { kind: 'strategic' },
  )
}

function requestError(node: string, error: unknown): RequestError {
  const message = error instanceof Error ? error.message : String(error)
  if (isKubeError(error, 'not-found'))
    return new RequestError(404, `there is no Node '${node}'; 'kubectl get nodes' lists them`)
  const mend = isKubeError(error, 'forbidden')
    ? "grant the agents' role get and patch on nodes (manifests/base/rbac.yaml)"
    : `ask the agent on ${node} itself, which can drain without an API server`
  return new RequestError(503, `the Node '${node}' could not be told: ${message}. Mend: ${mend}`)
}
