// That an address of a Service may not be announced, as a condition in its status: there while it is so, and gone when it is not. Written
// (condition-looks.ts) from what the leader's own guard says; where nodes differ, their Events tell.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { SERVICES } from '../kube/objects.ts'
import { REFUSAL_CONDITION } from '../kube/service-announcing.ts'
import { REFUSAL_MENDS, type RefusalCode, type RefusedAnnouncement } from '../model/announcement.ts'
import type { AddressCondition, ObjectKey, Service } from '../model/service.ts'
import { ConditionLooks, type DueCondition } from './condition-looks.ts'
import { conditionPatch, isSameCondition } from './own-condition.ts'

const LOOK_MS = 5_000

export interface RefusalConditionsOptions {
  readonly client: Pick<KubeClient, 'patch'>
  readonly services: { values(): Iterable<Service> }
  readonly refused: () => ReadonlyMap<ObjectKey, RefusedAnnouncement>
  readonly isLeader: () => boolean
  readonly log: Pick<Logger, 'warn'>
}

export class RefusalConditions {
  readonly #options: RefusalConditionsOptions
  readonly #looks: ConditionLooks

  constructor(options: RefusalConditionsOptions) {
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
    const { services, refused, client } = this.#options
    const byService = refused()
    for (const { key, refusalCondition: has } of services.values()) {
      const wanted = conditionOf(byService.get(key))
      if (isSameCondition(has, wanted)) continue
      const [namespace = '', name = ''] = key.split('/')
      const path = { namespace, name, subresource: 'status' } as const
      const conditions = [conditionPatch(REFUSAL_CONDITION, has, wanted, Date.now())]
      yield {
        of: { service: key },
        write: () => client.patch(SERVICES, path, { status: { conditions } }, { kind: 'strategic' }),
      }
    }
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
