// Tells whoever wrote a policy what of it is not followed, field by field and with the mend: a condition in its status
// (condition-looks.ts), and Events. NetworkPolicy's status is nobody's: there Events alone tell.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { EventRecorder } from '../kube/events.ts'
import { apiVersionOf } from '../kube/objects.ts'
import { isOfRule } from '../kube/policies/cluster-network-policy.ts'
import { namesOf, POLICY_CONDITIONS, type PolicyObject } from '../kube/policies/resources.ts'
import type { PolicyFault } from '../model/policy.ts'
import type { AddressCondition } from '../model/service.ts'
import { timeText } from '../model/time-text.ts'
import { unreadGroups } from '../policy/network-groups.ts'
import { ConditionLooks, type DueCondition } from './condition-looks.ts'
import { isSameCondition } from './own-condition.ts'
import { faultText } from './policy-fault.ts'
import { POLICY_KINDS, type PolicySources } from './policy-sources.ts'

const LOOK_MS = 2_000
/** A message that says more is cut by the API server's own limits, or read by nobody. */
const FAULTS_TOLD_MAX = 5
/** Owns what it writes, beside whoever else writes conditions there. */
const FIELD_MANAGER = 'weir'

export interface PolicyReporterOptions {
  readonly client: Pick<KubeClient, 'patch'>
  readonly sources: Pick<PolicySources, 'objects' | 'networkGroups' | 'isSynced' | 'resourceOf'>
  readonly events: Pick<EventRecorder, 'record'>
  readonly isLeader: () => boolean
  readonly log: Pick<Logger, 'warn'>
}

interface Told {
  readonly object: PolicyObject
  /** Of lists of networks. */
  readonly lacks: string
}

export class PolicyReporter {
  readonly #options: PolicyReporterOptions
  readonly #looks: ConditionLooks
  /** What Events have told, by kind and key. */
  readonly #told = new Map<string, Told>()

  constructor(options: PolicyReporterOptions) {
    this.#options = options
    const { isLeader, log } = options
    this.#looks = new ConditionLooks({ everyMs: LOOK_MS, isLeader, due: () => this.#due(), log })
  }

  look(): Promise<void> {
    return this.#looks.look()
  }

  close(): Promise<void> {
    return this.#looks.close()
  }

  *#due(): Generator<DueCondition> {
    const { objects, networkGroups, isSynced } = this.#options.sources
    this.#forgetGone()
    for (const kind of POLICY_KINDS)
      for (const object of objects[kind].values()) {
        // What has not been listed yet is not missing.
        const unread = isSynced ? unreadGroups(object.policies, networkGroups) : []
        this.#tell(object, unread)
        const wanted = policyCondition(object, unread)
        if (wanted === undefined || isSameCondition(object.condition, wanted)) continue
        yield { of: { policy: `${kind} ${object.key}` }, write: () => this.#write(object, wanted) }
      }
  }

  #forgetGone(): void {
    for (const [name, { object }] of this.#told) {
      const { kind, key } = object
      if (this.#options.sources.objects[kind].get(key) === undefined) this.#told.delete(name)
    }
  }

  #tell(object: PolicyObject, unread: readonly PolicyFault[]): void {
    const { kind, key, uid, faults, notes } = object
    const name = `${kind} ${key}`
    const before = this.#told.get(name)
    const lacks = unread.slice(0, FAULTS_TOLD_MAX).map(sentence).join(' ')
    if (before?.object === object && before.lacks === lacks) return
    this.#told.set(name, { object, lacks })
    const resource = this.#options.sources.resourceOf(kind)
    const involved = {
      apiVersion: apiVersionOf(resource),
      kind,
      namespace: 'default',
      ...namesOf(object),
      uid,
    }
    if (lacks !== '' && lacks !== before?.lacks)
      this.#options.events.record(involved, 'Warning', 'PolicyNotFollowed', lacks)
    if (before?.object === object) return
    for (const fault of faults)
      this.#options.events.record(
        involved,
        'Warning',
        'PolicyNotFollowed',
        `${sentence(fault)} ${meanwhile(object)}`,
      )
    for (const note of notes) this.#options.events.record(involved, 'Warning', 'InvalidValue', sentence(note))
  }

  async #write(policy: PolicyObject, wanted: AddressCondition): Promise<void> {
    const { kind } = policy
    const resource = this.#options.sources.resourceOf(kind)
    const names = namesOf(policy)
    const object = {
      apiVersion: apiVersionOf(resource),
      kind,
      metadata: names,
      status: {
        conditions: [{ type: POLICY_CONDITIONS[kind], ...wanted, lastTransitionTime: timeText(Date.now()) }],
      },
    }
    const path = { ...names, subresource: 'status' } as const
    const options = { kind: 'apply', fieldManager: FIELD_MANAGER, force: true } as const
    await this.#options.client.patch(resource, path, object, options)
  }
}

/** What becomes of a policy meanwhile. */
function meanwhile({ kind, policies, faults }: PolicyObject): string {
  if (policies.length === 0) return 'Until then it is not in force.'
  if (policies.every(({ ingress, egress }) => !ingress && !egress))
    return 'Until then it closes nobody: it names no direction.'
  if (kind === 'ClusterNetworkPolicy' && !faults.every(isOfRule))
    return 'Until then its Accept rules match nobody, its Deny and Pass rules deny whom they name, and its subject is every pod that the readable part of it selects.'
  return kind === 'ClusterNetworkPolicy'
    ? 'Until then the rule with that field fails closed: an Accept rule matches nobody, a Deny or Pass rule denies everybody on its ports.'
    : 'Until then the policy allows nothing in the directions it names, for every pod or node that the readable part of its selector selects.'
}

/** Undefined: the kind has none. */
function policyCondition(object: PolicyObject, unread: readonly PolicyFault[]): AddressCondition | undefined {
  const { kind } = object
  const faults = [...object.faults, ...unread]
  if (POLICY_CONDITIONS[kind] === undefined) return undefined
  if (faults.length === 0)
    return { status: 'True', reason: 'Followed', message: 'every field of it is followed' }
  const told = faults.slice(0, FAULTS_TOLD_MAX).map(sentence)
  const more = faults.length > told.length ? ` And ${faults.length - told.length} more.` : ''
  return {
    status: 'False',
    reason: 'NotFollowed',
    message: [told.join(' ') + more, ...(object.faults.length > 0 ? [meanwhile(object)] : [])].join(' '),
  }
}

function sentence(fault: PolicyFault): string {
  return `${faultText(fault)}.`
}
