// Requests and their answers over one netlink socket.
//
// Requests made in one turn of the event loop are collected and sent together, 64 to a system call; the
// kernel carries them out in order, and its answers are matched by sequence number. One request failing does
// not stop the next. Rtnetlink answers before the send returns, so the answers are read at once; the poll
// only serves the rest of a dump. At most `messagesPerTurn` are handled before the event loop gets a turn, so
// ten thousand routes do not stall timers and sockets.
//
// A dump is the exception: the kernel runs one per socket and refuses a second with EBUSY, so dumps wait for
// each other. When the table changed during a dump (NLM_F_DUMP_INTR) the result may lack rows, and the dump
// is taken again.

import { SystemError } from '../libc/errors.ts'
import { NetlinkError } from './errors.ts'
import {
  decodeAcknowledgement,
  decodeMessages,
  encodeMessage,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  setSequence,
} from './message.ts'
import { NetlinkSocket } from './socket.ts'

const messagesPerSend = 64
const bytesPerSend = 32 << 10
const messagesPerTurn = 256
const datagramsPerTurn = 64

/**
 * Beyond this a caller has lost control of its own rate: an error now beats memory that grows without end.
 */
const requestsWaitingMax = 1 << 20

/** Sent requests that may stand before the waiting ones until the list is cut. */
const requestsTakenMax = 1 << 14

/** A table that changes during this many dumps in a row changes faster than it can be read. */
const dumpAttemptsMax = 10

const EBUSY = 16

export interface Request<T> {
  readonly type: number
  readonly flags?: number
  readonly body: Uint8Array
  /** For error messages: what is being tried, with its object. */
  readonly action: string
  /**
   * Turns an answer into a result, at once, for the bytes are gone afterwards. Undefined results are left
   * out.
   */
  readonly decode?: (message: Message) => T | undefined
  readonly signal?: AbortSignal | undefined
}

interface Pending {
  readonly message: Buffer
  readonly isDump: boolean
  readonly action: string
  readonly accept: (message: Message) => void
  readonly settle: (error?: Error) => void
  readonly signal: AbortSignal | undefined
  readonly restart: () => void
  attempts: number
  interrupted: boolean
}

export class Connection {
  readonly #socket: NetlinkSocket
  /** Not yet sent, in the order they were made. */
  #waiting: Pending[] = []
  /**
   * How many at the start of `#waiting` have been sent already: cutting them off one batch at a time would
   * cost too much.
   */
  #taken = 0
  /** Dumps that wait for the one under way. */
  readonly #waitingDumps: Pending[] = []
  /** Sent and not fully answered, by sequence number. */
  readonly #sent = new Map<number, Pending>()
  #dump: Pending | undefined
  #sequence = 0
  #turn: NodeJS.Immediate | undefined
  #closed = false

  /** @param protocol NETLINK_ROUTE when absent */
  constructor(namespacePath?: string, protocol?: number) {
    this.#socket = new NetlinkSocket({ namespacePath, protocol }, () => this.#scheduleTurn())
    this.#socket.keepAlive(false)
  }

  /**
   * Changes something, or asks for one object: resolves with what the kernel sent before its acknowledgement.
   */
  ask<T>(request: Request<T>): Promise<T[]> {
    return this.#start(request, NLM_F_ACK)
  }

  /** Lists a table. */
  dump<T>(request: Request<T>): Promise<T[]> {
    return this.#start(request, NLM_F_DUMP)
  }

  /** Rejects what is under way with code CLOSED. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#turn) clearImmediate(this.#turn)
    this.#socket.close()
    this.#failAll((action) => new NetlinkError('CLOSED', `${action}: the netlink connection was closed`))
  }

  #start<T>(request: Request<T>, kind: number): Promise<T[]> {
    const { action, signal, decode } = request
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#closed)
      return Promise.reject(new NetlinkError('CLOSED', `${action}: the netlink connection is closed`))
    if (this.#waiting.length - this.#taken >= requestsWaitingMax) {
      return Promise.reject(
        new NetlinkError('OVERRUN', `${action}: ${requestsWaitingMax} requests wait already`),
      )
    }
    return new Promise<T[]>((resolve, reject) => {
      let results: T[] = []
      // The kernel cannot be told to stop: a request aborted after it was sent only loses its caller.
      const abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      this.#enqueue({
        message: encodeMessage(request.type, NLM_F_REQUEST | kind | (request.flags ?? 0), request.body),
        isDump: kind === NLM_F_DUMP,
        action,
        signal,
        attempts: 0,
        interrupted: false,
        accept: (message) => {
          const result = decode?.(message)
          if (result !== undefined) results.push(result)
        },
        restart: () => {
          results = []
        },
        settle: (error) => {
          signal?.removeEventListener('abort', abort)
          if (error) reject(error)
          else resolve(results)
        },
      })
    })
  }

  #enqueue(pending: Pending): void {
    if (pending.isDump && this.#dump) {
      this.#waitingDumps.push(pending)
      return
    }
    if (pending.isDump) this.#dump = pending
    this.#waiting.push(pending)
    this.#scheduleTurn()
  }

  #scheduleTurn(): void {
    if (this.#closed) return
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined
      this.#takeTurn()
    })
  }

  #takeTurn(): void {
    try {
      this.#receive()
      const end = this.#taken + messagesPerTurn
      while (this.#taken < Math.min(end, this.#waiting.length) && this.#sendBatch()) this.#receive()
      this.#forgetTaken()
    } catch (error) {
      this.#failAll((action) => asOverrun(error, action))
    }
    if (this.#closed) return
    this.#socket.keepAlive(this.#sent.size > 0)
    if (this.#waiting.length > this.#taken) this.#scheduleTurn()
  }

  /** Sends the next few of the waiting requests in one system call. False when the kernel took nothing. */
  #sendBatch(): boolean {
    const batch: Buffer[] = []
    let bytes = 0
    let next = this.#taken
    for (; next < this.#waiting.length && batch.length < messagesPerSend; next++) {
      const pending = this.#waiting[next]
      if (pending === undefined || pending.signal?.aborted) {
        this.#endDump(pending)
        continue
      }
      bytes += pending.message.length
      if (batch.length > 0 && bytes > bytesPerSend) break
      this.#sequence = (this.#sequence + 1) >>> 0 || 1 // 0 marks events.
      setSequence(pending.message, this.#sequence)
      this.#sent.set(this.#sequence, pending)
      batch.push(pending.message)
    }
    if (batch.length > 0 && !this.#socket.send(Buffer.concat(batch))) {
      // These stay waiting, and the numbers they were given were never seen.
      for (const message of batch) this.#sent.delete(message.readUInt32LE(8))
      return false
    }
    this.#taken = next
    return true
  }

  #forgetTaken(): void {
    if (this.#taken < this.#waiting.length && this.#taken < requestsTakenMax) return
    this.#waiting = this.#waiting.slice(this.#taken)
    this.#taken = 0
  }

  #receive(): void {
    for (let datagrams = 0; datagrams < datagramsPerTurn; datagrams++) {
      const datagram = this.#socket.receive()
      if (datagram === undefined) return
      for (const message of decodeMessages(datagram)) this.#handle(message)
      // Who gave up a listing may be about to close: the kernel lists on only as far as is read.
      if (this.#sent.size === 0) break
    }
    this.#scheduleTurn()
  }

  #handle(message: Message): void {
    const pending = this.#sent.get(message.sequence)
    if (pending === undefined) return
    if (message.flags & NLM_F_DUMP_INTR && pending.isDump) pending.interrupted = true
    if (message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE) {
      try {
        pending.accept(message)
      } catch (error) {
        this.#finish(message.sequence, pending, error instanceof Error ? error : new Error(String(error)))
      }
      return
    }
    const { errno, explanation } = decodeAcknowledgement(message)
    const error = errno === 0 ? undefined : new SystemError({ action: pending.action, errno, explanation })
    this.#finish(message.sequence, pending, error)
  }

  #finish(sequence: number, pending: Pending, error: Error | undefined): void {
    this.#sent.delete(sequence)
    const isIncomplete = pending.interrupted && error === undefined
    if (isIncomplete && ++pending.attempts < dumpAttemptsMax) {
      pending.interrupted = false
      pending.restart()
      this.#waiting.push(pending)
      this.#scheduleTurn()
      return
    }
    pending.settle(isIncomplete ? dumpUnstable(pending.action) : error)
    this.#endDump(pending)
  }

  /** Lets the next dump go, where `pending` was the one under way. */
  #endDump(pending: Pending | undefined): void {
    if (pending === undefined || pending !== this.#dump) return
    this.#dump = undefined
    const next = this.#waitingDumps.shift()
    if (next) this.#enqueue(next)
  }

  #failAll(toError: (action: string) => Error): void {
    const failed = new Set([
      ...this.#sent.values(),
      ...this.#waiting.slice(this.#taken),
      ...this.#waitingDumps,
    ])
    this.#sent.clear()
    this.#waiting = []
    this.#taken = 0
    this.#waitingDumps.length = 0
    this.#dump = undefined
    for (const pending of failed) pending.settle(toError(pending.action))
  }
}

function dumpUnstable(action: string): SystemError {
  return new SystemError({ action, errno: EBUSY, mend: 'the table keeps changing: list it again later' })
}

function asOverrun(cause: unknown, action: string): NetlinkError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new NetlinkError('OVERRUN', `${action}: the answer was lost (${reason}); ask again`, { cause })
}
