// That an address of a Service may not be announced, as a condition in its status: there while it is so, and gone when it is not. Written by the
// one agent that gives out addresses, from what its own guard says; where nodes differ, their Events tell. Looks at all Services now and then,
// so that what an earlier agent wrote, or somebody took away, is put right too.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { SERVICES } from '../kube/objects.ts'
import { REFUSAL_CONDITION } from '../kube/service-announcing.ts'
import { REFUSAL_MENDS, type RefusalCode, type RefusedAnnouncement } from '../model/announcement.ts'
import type { AddressCondition, ObjectKey, Service } from '../model/service.ts'

const LOOK_MS = 5_000
/** At a look; the rest follows at the next ones. */
const WRITES_MAX = 100

export interface RefusalConditionsOptions {
  readonly client: Pick<KubeClient, 'patch'>
  readonly services: { values(): Iterable<Service> }
  readonly refused: () => ReadonlyMap<ObjectKey, RefusedAnnouncement>
  readonly isLeader: () => boolean
  readonly log: Pick<Logger, 'warn'>
}

export class RefusalConditions {
  readonly #options: RefusalConditionsOptions
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(options: RefusalConditionsOptions) {
    this.#options = options
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.look())
    }, LOOK_MS)
    this.#timer.unref()
  }

  async look(): Promise<void> {
    const { services, refused, isLeader, client, log } = this.#options
    if (!isLeader()) return
    const byService = refused()
    let writes = 0
    for (const { key, refusalCondition: has } of services.values()) {
      const wanted = conditionOf(byService.get(key))
      if (isSame(has, wanted)) continue
      if (this.#isClosed || writes >= WRITES_MAX) return
      writes += 1
      const [namespace = '', name = ''] = key.split('/')
      const patch = { status: { conditions: [conditionPatch(has, wanted)] } }
      try {
        await client.patch(SERVICES, { namespace, name, subresource: 'status' }, patch, { kind: 'strategic' })
      } catch (error) {
        // It has gone meanwhile, or the API server is away: the next look tries again.
        if (!isKubeError(error, 'not-found'))
          log.warn({ err: error, service: key }, 'a condition was not written')
        if (isKubeError(error, 'unreachable', 'timeout')) return
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#looking
  }
}

function conditionOf(refusal: RefusedAnnouncement | undefined): AddressCondition | undefined {
  if (!refusal) return undefined
  const message = `${refusal.reason}. Mend: ${REFUSAL_MENDS[refusal.code]}`
  return { status: 'True', reason: reasonOf(refusal.code), message }
}

/** `outside-allowed` → `OutsideAllowed`. */
function reasonOf(code: RefusalCode): string {
  return code.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

function isSame(has: AddressCondition | undefined, wanted: AddressCondition | undefined): boolean {
  if (has === undefined || wanted === undefined) return has === wanted
  return has.status === wanted.status && has.reason === wanted.reason && has.message === wanted.message
}

/** A strategic merge patch: conditions of others stay. */
function conditionPatch(has: AddressCondition | undefined, wanted: AddressCondition | undefined): object {
  if (!wanted) return { type: REFUSAL_CONDITION, $patch: 'delete' }
  const lastTransitionTime = `${new Date().toISOString().slice(0, 19)}Z`
  const isTurned = has?.status !== wanted.status
  return { type: REFUSAL_CONDITION, ...wanted, ...(isTurned ? { lastTransitionTime } : {}) }
}
