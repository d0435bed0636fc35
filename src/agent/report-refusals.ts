// Tells what of a Service's addresses does not leave, and why: as Events on the Service, and in the log. Once per reason.

import type { Logger } from 'pino'
import type { EventRecorder } from '../kube/events.ts'
import { REFUSAL_MENDS, type RefusedAnnouncement } from '../model/announcement.ts'
import type { VipView } from '../routing/vip-plans.ts'
import { serviceObject } from './report-problems.ts'

export interface RefusalReporter {
  readonly events: Pick<EventRecorder, 'record'>
  readonly log: Pick<Logger, 'warn'>
}

export class RefusalReports {
  readonly #reporter: RefusalReporter
  /** What was last told, by asker. */
  readonly #told = new Map<string, string>()

  constructor(reporter: RefusalReporter) {
    this.#reporter = reporter
  }

  /** @param refusal of what the asker wants now; undefined: none */
  refused(asker: string, refusal: RefusedAnnouncement | undefined, vip: VipView | undefined): void {
    if (!refusal) {
      this.#told.delete(asker)
      return
    }
    if (this.#told.get(asker) === refusal.reason) return
    this.#told.set(asker, refusal.reason)
    const message = `not announced: ${refusal.reason}. Mend: ${REFUSAL_MENDS[refusal.code]}`
    this.#reporter.log.warn({ prefix: refusal.announcement.prefix, code: refusal.code }, message)
    this.#record(vip, 'AnnouncementRefused', message)
  }

  suppressed(address: string, vip: VipView | undefined): void {
    const gate = vip?.shut.find((one) => one.gate === 'suppressed')
    const why = gate ? gate.why : (vip?.announcement?.why ?? 'it flaps')
    const message = `${address} was withdrawn and announced too often in a short time: ${why}`
    this.#reporter.log.warn({ vip: address }, message)
    this.#record(vip, 'AnnouncementSuppressed', message)
  }

  #record(vip: VipView | undefined, reason: string, message: string): void {
    const services = new Map(vip?.facts.map(({ service }) => [service.key, service]))
    for (const { key, uid } of services.values())
      this.#reporter.events.record(serviceObject(key, uid), 'Warning', reason, message)
  }
}
