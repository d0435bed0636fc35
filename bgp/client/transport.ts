// gRPC calls as promises: protobuf in and out, a deadline on each, errors turned into GobgpError. Knows no BGP.

import { setImmediate as onceTurned } from 'node:timers'
import { setImmediate } from 'node:timers/promises'
import type {
  DescMessage,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type CallOptions, Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { GobgpError } from './errors.ts'

/** gobgpd has a single worker; a full table of 100 000 paths keeps it busy for seconds. */
const CALL_TIMEOUT_MS = 20_000
/** A gobgpd that restarts is back within tens of milliseconds, and graceful restart is running. */
const RECONNECT_MIN_MS = 100
const RECONNECT_MAX_MS = 2_000

/** grpc-js takes 4 MiB, gobgpd sends 256: the first message of a watch holds the whole table, some 25 MB for 100 000 paths. */
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024

/** A socket may hold hundreds of messages, and one with a path in it takes some 30 us to read. */
const MESSAGES_AT_A_STRETCH = 64

type AnyMethod = { readonly name: string; readonly parent: { readonly typeName: string } }

export interface Transport {
  unary: <I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ) => Promise<MessageShape<O>>
  /** Collects a finite answer stream. */
  collect: <I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ) => Promise<MessageShape<O>[]>
  /** Hands a finite answer stream over as it comes, for long ones. Others get their turn in between. */
  each: <I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    onMessage: (message: MessageShape<O>) => void,
  ) => Promise<void>
  /**
   * Follows an endless answer stream; resolves never, rejects when it ends for whatever reason. A message whose handler returns a promise
   * holds up the next.
   */
  follow: <I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    onMessage: (message: MessageShape<O>) => void | Promise<void>,
    signal: AbortSignal,
  ) => Promise<never>
  /** Sends the requests one after the other, waiting where the other side is slower. Others get their turn in between. */
  send: <I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    requests: Iterable<MessageInitShape<I>>,
  ) => Promise<MessageShape<O>>
  close: () => void
}

interface Channel {
  readonly client: Client
  /** For error messages. */
  readonly target: string
}

/** @param target unix:///path/to/socket or host:port */
export function openTransport(target: string): Transport {
  const client = new Client(target, credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': RECONNECT_MIN_MS,
    'grpc.min_reconnect_backoff_ms': RECONNECT_MIN_MS,
    'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  })
  const channel: Channel = { client, target }
  return {
    unary: (method, request) => callOnce(channel, method, request),
    collect: async (method, request) => {
      const messages: MessageShape<typeof method.output>[] = []
      await readEach(channel, method, request, (message) => messages.push(message))
      return messages
    },
    each: (method, request, onMessage) => readEach(channel, method, request, onMessage),
    follow: (method, request, onMessage, signal) => follow(channel, method, request, onMessage, signal),
    send: (method, requests) => sendAll(channel, method, requests),
    close: () => client.close(),
  }
}

function soon(): CallOptions {
  return { deadline: Date.now() + CALL_TIMEOUT_MS }
}

function callOnce<I extends DescMessage, O extends DescMessage>(
  { client, target }: Channel,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      pathOf(method),
      encoder(method.input),
      decoder(method.output),
      create(method.input, request),
      new Metadata(),
      soon(),
      (error, answer) => {
        if (error || answer === undefined) reject(describe(error, method, target))
        else resolve(answer)
      },
    )
  })
}

function openStream<I extends DescMessage, O extends DescMessage>(
  { client }: Channel,
  method: DescMethodServerStreaming<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions,
) {
  return client.makeServerStreamRequest(
    pathOf(method),
    encoder(method.input),
    decoder(method.output),
    create(method.input, request),
    new Metadata(),
    options,
  )
}

function readEach<I extends DescMessage, O extends DescMessage>(
  channel: Channel,
  method: DescMethodServerStreaming<I, O>,
  request: MessageInitShape<I>,
  onMessage: (message: MessageShape<O>) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = openStream(channel, method, request, soon())
    let count = 0
    call.on('data', (message: MessageShape<O>) => {
      count += 1
      if (count % MESSAGES_AT_A_STRETCH === 0) {
        call.pause()
        onceTurned(() => call.resume())
      }
      try {
        onMessage(message)
      } catch (error) {
        reject(error)
        call.cancel()
      }
    })
    call.on('error', (error: ServiceError) => reject(describe(error, method, channel.target)))
    call.on('end', () => resolve())
  })
}

function follow<I extends DescMessage, O extends DescMessage>(
  channel: Channel,
  method: DescMethodServerStreaming<I, O>,
  request: MessageInitShape<I>,
  onMessage: (message: MessageShape<O>) => void | Promise<void>,
  signal: AbortSignal,
): Promise<never> {
  return new Promise((_, reject) => {
    const call = openStream(channel, method, request, {})
    const cancel = () => call.cancel()
    signal.addEventListener('abort', cancel, { once: true })
    if (signal.aborted) cancel()
    call.on('data', (message: MessageShape<O>) => {
      const handled = onMessage(message)
      if (!handled) return
      call.pause()
      handled.then(
        () => call.resume(),
        (error: unknown) => {
          reject(error)
          call.cancel()
        },
      )
    })
    const end = (error?: ServiceError) => {
      signal.removeEventListener('abort', cancel)
      reject(describe(error ?? null, method, channel.target))
    }
    call.on('error', end)
    call.on('end', () => end())
  })
}

function sendAll<I extends DescMessage, O extends DescMessage>(
  { client, target }: Channel,
  method: DescMethodClientStreaming<I, O>,
  requests: Iterable<MessageInitShape<I>>,
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(
      pathOf(method),
      encoder(method.input),
      decoder(method.output),
      new Metadata(),
      soon(),
      (error, answer) => {
        if (error || answer === undefined) reject(describe(error, method, target))
        else resolve(answer)
      },
    )
    writeAll(call, method.input, requests).catch((error: unknown) => {
      call.cancel()
      reject(error)
    })
  })
}

interface RequestStream<I extends DescMessage> {
  write: (message: MessageShape<I>) => boolean
  end: () => void
  once: (event: 'drain' | 'close' | 'error', listener: () => void) => unknown
  readonly destroyed: boolean
}

async function writeAll<I extends DescMessage>(
  call: RequestStream<I>,
  schema: I,
  requests: Iterable<MessageInitShape<I>>,
): Promise<void> {
  for (const request of requests) {
    if (call.destroyed) return
    if (call.write(create(schema, request))) {
      await setImmediate()
      continue
    }
    await new Promise<void>((resolve) => {
      for (const event of ['drain', 'close', 'error'] as const) call.once(event, resolve)
    })
  }
  call.end()
}

function pathOf(method: AnyMethod): string {
  return `/${method.parent.typeName}/${method.name}`
}

function encoder<D extends DescMessage>(schema: D) {
  return (message: MessageShape<D>): Buffer => Buffer.from(toBinary(schema, message))
}

function decoder<D extends DescMessage>(schema: D) {
  return (bytes: Buffer): MessageShape<D> => fromBinary(schema, bytes)
}

function describe(error: ServiceError | null, method: AnyMethod, target: string): GobgpError {
  const what = `${method.name} at ${target}`
  switch (error?.code) {
    case undefined:
    case status.UNAVAILABLE:
      return new GobgpError('UNAVAILABLE', `${what}: no gobgpd answers. Is it running?`, error)
    case status.CANCELLED:
      return new GobgpError('CLOSED', `${what}: the call was given up`, error)
    case status.DEADLINE_EXCEEDED:
      return new GobgpError('TIMEOUT', `${what}: no answer within ${CALL_TIMEOUT_MS} ms`, error)
    case status.UNIMPLEMENTED:
      return new GobgpError(
        'UNSUPPORTED_VERSION',
        `${what}: it does not offer ${method.parent.typeName}. Mend: run gobgpd 3.10 or later`,
        error,
      )
    default:
      return new GobgpError('REFUSED', `${what}: ${error?.details ?? 'unknown failure'}`, error)
  }
}
