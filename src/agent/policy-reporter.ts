// Tells whoever wrote a policy what of it is not followed, field by field and with the mend: a condition in its status
// (condition-looks.ts), and Events. NetworkPolicy's status is nobody's: there Events alone tell.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { EventRecorder } from '../kube/events.ts'
import { apiVersionOf } from '../kube/objects.ts'
import { POLICY_CONDITIONS, POLICY_RESOURCES, type PolicyObject } from '../kube/policies/resources.ts'
import type { PolicyFault } from '../model/policy.ts'
import type { AddressCondition } from '../model/service.ts'
import { timeText } from '../model/time-text.ts'
import { ConditionLooks, type DueCondition } from './condition-looks.ts'
import { isSameCondition } from './own-condition.ts'
import { POLICY_KINDS, type PolicySources } from './policy-sources.ts'

const LOOK_MS = 2_000
/** A message that says more is cut by the API server's own limits, or read by nobody. */
const FAULTS_TOLD_MAX = 5
/** Owns what it writes, beside whoever else writes conditions there. */
const FIELD_MANAGER = 'weir'

export interface PolicyReporterOptions {
  readonly client: Pick<KubeClient, 'patch'>
  readonly objects: PolicySources['objects']
  readonly events: Pick<EventRecorder, 'record'>
  readonly isLeader: () => boolean
  readonly log: Pick<Logger, 'warn'>
}

export class PolicyReporter {
  readonly #options: PolicyReporterOptions
  readonly #looks: ConditionLooks
  /** What Events have told, by kind and key. */
  readonly #told = new Map<string, PolicyObject>()

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
    const { objects } = this.#options
    this.#forgetGone()
    for (const kind of POLICY_KINDS)
      for (const object of objects[kind].values()) {
        this.#tell(object)
        const wanted = policyCondition(object)
        if (wanted === undefined || isSameCondition(object.condition, wanted)) continue
        yield { of: { policy: `${kind} ${object.key}` }, write: () => this.#write(object, wanted) }
      }
  }

  #forgetGone(): void {
    for (const [name, { kind, key }] of this.#told)
      if (this.#options.objects[kind].get(key) === undefined) this.#told.delete(name)
  }

  #tell(object: PolicyObject): void {
    const { kind, key, uid, faults, notes } = object
    const name = `${kind} ${key}`
    if (this.#told.get(name) === object) return
    this.#told.set(name, object)
    const resource = POLICY_RESOURCES[kind]
    const [namespace, shortName] = resource.namespaced ? splitKey(key) : ['default', key]
    const involved = { apiVersion: apiVersionOf(resource), kind, namespace, name: shortName, uid }
    for (const fault of faults)
      this.#options.events.record(
        involved,
        'Warning',
        'PolicyNotFollowed',
        `${sentence(fault)} ${meanwhile(object)}`,
      )
    for (const note of notes) this.#options.events.record(involved, 'Warning', 'InvalidValue', sentence(note))
  }

  async #write({ kind, key }: PolicyObject, wanted: AddressCondition): Promise<void> {
    const resource = POLICY_RESOURCES[kind]
    const [namespace, name] = resource.namespaced ? splitKey(key) : [undefined, key]
    const object = {
      apiVersion: apiVersionOf(resource),
      kind,
      metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
      status: {
        conditions: [{ type: POLICY_CONDITIONS[kind], ...wanted, lastTransitionTime: timeText(Date.now()) }],
      },
    }
    const path = { ...(namespace === undefined ? {} : { namespace }), name, subresource: 'status' } as const
    const options = { kind: 'apply', fieldManager: FIELD_MANAGER, force: true } as const
    await this.#options.client.patch(resource, path, object, options)
  }
}

/** What becomes of a policy meanwhile. */
function meanwhile({ kind, policies }: PolicyObject): string {
  if (policies.length === 0) return 'Until then it is not in force.'
  return kind === 'ClusterNetworkPolicy'
    ? 'Until then its rules that name such a field allow nobody, and deny everybody on their ports.'
    : 'Until then the policy allows nothing in the directions it names.'
}

/** Undefined: the kind has none. */
export function policyCondition(object: PolicyObject): AddressCondition | undefined {
  const { kind, faults } = object
  if (POLICY_CONDITIONS[kind] === undefined) return undefined
  if (faults.length === 0)
    return { status: 'True', reason: 'Followed', message: 'every field of it is followed' }
  const told = faults.slice(0, FAULTS_TOLD_MAX).map(sentence)
  const more = faults.length > told.length ? ` And ${faults.length - told.length} more.` : ''
  return { status: 'False', reason: 'NotFollowed', message: `${told.join(' ')}${more} ${meanwhile(object)}` }
}

function sentence({ path, text, mend }: PolicyFault): string {
  return `${path}: ${text}. Mend: ${mend}.`
}

function splitKey(key: string): readonly [namespace: string, name: string] {
  const [namespace = '', name = ''] = key.split('/')
  return [namespace, name]
}
