// A gRPC server that speaks our statement of gobgpd's interface, for tests of what a real gobgpd cannot be made to do: refuse, hang,
// break a stream, or be of another version. It is no model of BGP; a test gives the answers it wants and reads what was sent.

import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  status,
  type UntypedHandleCall,
} from '@grpc/grpc-js'
import type { GobgpApi } from '../proto/gobgp-v3.gen.ts'
import type { GoBgpService } from '../proto/gobgp-v4.gen.ts'

type Service = typeof GobgpApi | typeof GoBgpService

/** What a method answers: a list of messages for an answer stream, one message otherwise; throwing becomes a gRPC error. */
export type Answers<S extends Service = typeof GobgpApi> = {
  readonly [name in keyof S['method']]?: (
    requests: readonly MessageShape<MethodsOf<S>[name]['input']>[],
  ) => readonly MessageInitShape<MethodsOf<S>[name]['output']>[] | Promise<never>
}

type MethodsOf<S extends Service> = { [name in keyof S['method']]: S['method'][name] & DescMethod }

export interface FakeServer {
  readonly target: string
  /** Ends every open call at once, as a killed gobgpd would. */
  close: () => Promise<void>
}

export class FakeRefusal extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** @param service of the one or the other version */
export async function startFakeServer<S extends Service>(
  target: string,
  service: S,
  answers: Answers<S>,
): Promise<FakeServer> {
  const server = new Server()
  const definition: Record<string, ServiceDefinition[string]> = {}
  const handlers: Record<string, UntypedHandleCall> = {}
  for (const [name, method] of Object.entries((service as DescService).method)) {
    const answer = (answers as Record<string, AnyAnswer | undefined>)[name]
    definition[name] = describeMethod(`/${service.typeName}/${method.name}`, method)
    handlers[name] = handlerOf(method, answer)
  }
  server.addService(definition, handlers as Parameters<Server['addService']>[1])
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    )
  })
  return {
    target,
    close: async () => server.forceShutdown(),
  }
}

type AnyAnswer = (requests: readonly unknown[]) => readonly object[] | Promise<never>

function describeMethod(path: string, method: DescMethod): ServiceDefinition[string] {
  return {
    path,
    requestStream: method.methodKind === 'client_streaming',
    responseStream: method.methodKind === 'server_streaming',
    requestSerialize: (value: MessageShape<typeof method.input>) =>
      Buffer.from(toBinary(method.input, value)),
    requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
    responseSerialize: (value: MessageShape<typeof method.output>) =>
      Buffer.from(toBinary(method.output, value)),
    responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  }
}

interface AnyCall {
  readonly request?: unknown
  on: (event: string, listener: (value: unknown) => void) => void
  write: (value: unknown) => void
  end: () => void
  emit: (event: 'error', error: object) => void
}

type Callback = (error: object | null, value?: unknown) => void

function handlerOf(method: DescMethod, answer: AnyAnswer | undefined): UntypedHandleCall {
  const produce = async (requests: readonly unknown[]) => {
    if (!answer) throw new FakeRefusal(status.UNIMPLEMENTED, `the test gives no answer to ${method.name}`)
    return (await answer(requests)).map((value) =>
      create(method.output, value as MessageInitShape<typeof method.output>),
    )
  }
  const unary = (requests: readonly unknown[], callback: Callback) => {
    produce(requests).then(
      ([value]) => callback(null, value),
      (error: unknown) => callback(toStatus(error)),
    )
  }
  const handler = (call: AnyCall, callback: Callback) => {
    if (method.methodKind === 'server_streaming')
      produce([call.request]).then(
        (values) => {
          for (const value of values) call.write(value)
          call.end()
        },
        (error: unknown) => call.emit('error', toStatus(error)),
      )
    else if (method.methodKind === 'client_streaming') {
      const requests: unknown[] = []
      call.on('data', (request) => requests.push(request))
      call.on('end', () => unary(requests, callback))
    } else unary([call.request], callback)
  }
  return handler as unknown as UntypedHandleCall
}

function toStatus(error: unknown): { code: number; details: string } {
  if (error instanceof FakeRefusal) return { code: error.code, details: error.message }
  return { code: status.INTERNAL, details: String(error) }
}
