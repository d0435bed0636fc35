// Events on the user's objects: how Weir says, where `kubectl get events` lists it, what it did or why it could not.
//
// One Event object per (object, reason, message); a repetition raises its count, as kubectl users expect. Losing an Event is
// no failure of what it reports, so errors are only told to `onProblem`. Written one after another: a full table is told of on
// thousands of objects at once, and the API server, and our watches on it, have other things to do.

import { createHash } from 'node:crypto'
import { steadyNowMs } from '../model/steady-clock.ts'
import { timeText } from '../model/time-text.ts'
import type { KubeClient } from './client.ts'
import { isKubeError } from './errors.ts'
import { EVENTS, type Event } from './objects.ts'

export interface InvolvedObject {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid?: string | undefined
}

export interface EventRecorderOptions {
  readonly client: KubeClient
  readonly component: string
  readonly host: string
  readonly onProblem: (error: unknown) => void
}

export type EventType = 'Normal' | 'Warning'

/** The same Event again within this time is not written again. */
const REPEAT_AFTER_MS = 300_000
/** Bounds the memory of what was said; the oldest is forgotten first. */
const REMEMBERED_MAX = 2000
/** What comes while so many wait to be written is not written, and may be said again. */
const WAITING_MAX = 1000

export class EventRecorder {
  readonly #options: EventRecorderOptions
  readonly #said = new Map<string, number>()
  #last: Promise<void> = Promise.resolve()
  #waiting = 0

  constructor(options: EventRecorderOptions) {
    this.#options = options
  }

  record(object: InvolvedObject, type: EventType, reason: string, message: string): void {
    const identity = [object.kind, object.namespace, object.name, object.uid ?? '', reason, message].join(
      '\n',
    )
    const nowMs = steadyNowMs()
    if (nowMs - (this.#said.get(identity) ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS) return
    this.#said.delete(identity)
    if (this.#waiting >= WAITING_MAX) return
    this.#said.set(identity, nowMs)
    const oldest = this.#said.keys().next().value
    if (this.#said.size > REMEMBERED_MAX && oldest !== undefined) this.#said.delete(oldest)
    const digest = createHash('sha256').update(identity).digest('hex').slice(0, 16)
    this.#waiting += 1
    this.#last = this.#last
      .then(() => this.#write(object, type, reason, message, `${object.name}.${digest}`))
      .catch(this.#options.onProblem)
      .finally(() => {
        this.#waiting -= 1
      })
  }

  async #write(
    object: InvolvedObject,
    type: EventType,
    reason: string,
    message: string,
    name: string,
  ): Promise<void> {
    const { client, component, host } = this.#options
    const time = timeText(Date.now())
    const path = { namespace: object.namespace, name }
    try {
      const known = await client.get(EVENTS, path)
      const patch = { lastTimestamp: time, count: (known.count ?? 1) + 1 }
      await client.patch(EVENTS, path, patch, { kind: 'merge' })
      return
    } catch (error) {
      if (!isKubeError(error, 'not-found')) throw error
    }
    const { apiVersion, kind, namespace, uid } = object
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { namespace, name },
      involvedObject: {
        apiVersion,
        kind,
        namespace,
        name: object.name,
        ...(uid === undefined ? {} : { uid }),
      },
      type,
      reason,
      message,
      source: { component, host },
      reportingComponent: component,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    }
    await client.create(EVENTS, event)
  }
}
