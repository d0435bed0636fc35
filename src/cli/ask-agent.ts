// What commands for the node have in common: they ask the agent of this node through its socket, and print the answer as a
// table or, with -o json, as it came.

import { request } from 'node:http'
import type { ParseArgsOptionsConfig } from 'node:util'
import type { z } from 'zod'
import { VERSION_HEADER, weirVersion } from '../agent/version.ts'
import { PAGE_WIDTH } from '../model/text-table.ts'
import { UsageError } from './options.ts'
import { describeMismatch, otherVersion } from './other-version.ts'

/** Where the agent of manifests/base listens. */
const SOCKET_DEFAULT = '/run/weir/agent.sock'
const TIMEOUT_MS = 10_000

export const AGENT_OPTIONS = {
  socket: { type: 'string' },
  output: { type: 'string', short: 'o' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig

export const AGENT_OPTIONS_HELP = `  -o json          as JSON
  --socket PATH    the agent's socket (default: $WEIR_SOCKET, else ${SOCKET_DEFAULT})
`

export interface AgentOptions {
  readonly socket?: string | undefined
  readonly output?: string | undefined
}

export class AgentError extends Error {
  readonly code: 'NO_AGENT' | 'REFUSED' | 'OTHER_VERSION'
  constructor(code: AgentError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/**
 * Asks the agent of this node. Throws AgentError.
 * @param schema what of the answer is read (answers.ts); as JSON it goes out as it came
 */
export function askAgent<T>(options: AgentOptions, path: string, schema?: z.ZodType): Promise<T> {
  const isShownAsItIs = options.output === 'json'
  return exchange<T>(options, { method: 'GET', path, ...(schema && !isShownAsItIs ? { schema } : {}) })
}

/** Tells the agent of this node to do something. Throws AgentError, with the agent's words where it refuses. */
export function tellAgent<T>(
  options: AgentOptions,
  path: string,
  body = '',
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  return exchange<T>(options, { method: 'POST', path, body, timeoutMs })
}

/** For commands whose status 1 says something else: whatever goes wrong is 2. */
export async function refusedAsUsage<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof AgentError) throw new UsageError(error.message)
    throw error
  }
}

interface Asked {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string
  readonly timeoutMs?: number
  readonly schema?: z.ZodType
}

/** The words of an agent that does not know what it is asked (local-api.ts). */
const UNKNOWN_PATH = /^no such path; there are /

async function exchange<T>({ socket }: AgentOptions, asked: Asked): Promise<T> {
  const socketPath = socket ?? process.env['WEIR_SOCKET'] ?? SOCKET_DEFAULT
  const { status, body, version } = await send(socketPath, asked).catch((error: NodeJS.ErrnoException) => {
    throw new AgentError(
      'NO_AGENT',
      `no agent answers on ${socketPath} (${error.code ?? error.message}). Mend: run this on a node with a running agent, as root; --socket names another place, STATE_DIRECTORY/agent.sock`,
    )
  })
  const answer = JSON.parse(body) as T & { error?: string }
  const mismatch = mismatchOf(asked, status, answer)
  if (mismatch !== undefined)
    throw new AgentError('OTHER_VERSION', otherVersion(version, weirVersion(), mismatch))
  if (status !== 200) throw new AgentError('REFUSED', answer.error ?? `the agent answered ${status}`)
  return answer
}

/** The terminal's, or what people read: for a pipe as for a page. */
export function pageWidth({
  isTTY,
  columns,
}: {
  readonly isTTY?: boolean
  readonly columns?: number
}): number {
  return isTTY && columns !== undefined && columns > 0 ? columns : PAGE_WIDTH
}

/** What an agent of this version would have answered otherwise; undefined: nothing. */
function mismatchOf(
  { path, schema }: Asked,
  status: number,
  answer: { readonly error?: string },
): string | undefined {
  if (status === 404 && UNKNOWN_PATH.test(answer.error ?? '')) return `it has no ${path.split('?')[0]}`
  if (status !== 200 || schema === undefined) return undefined
  const checked = schema.safeParse(answer)
  return checked.success ? undefined : describeMismatch(answer, checked.error)
}

/**
 * Prints the answer as it was asked for.
 * @param asText for a page of that width
 * @param asWide of answers that have more columns than fit
 */
export function printAnswer<T>(
  { output = 'table' }: AgentOptions,
  answer: T,
  asText: (answer: T, width: number) => string,
  asWide?: (answer: T) => string,
): void {
  const asJson = () => `${JSON.stringify(answer, undefined, 2)}\n`
  const writers = {
    json: asJson,
    table: () => asText(answer, pageWidth(process.stdout)),
    ...(asWide ? { wide: () => asWide(answer) } : {}),
  }
  checkOutput(output, Object.keys(writers))
  process.stdout.write(writers[output as keyof typeof writers]?.() ?? '')
}

export function checkOutput(output: string, known: readonly string[]): void {
  if (known.includes(output)) return
  const outputs = known.map((name) => `-o ${name}`)
  throw new UsageError(`there is no output '${output}'. Mend: ${outputs.join(' or ')}`)
}

interface Answer {
  readonly status: number
  readonly body: string
  /** Undefined: it does not tell. */
  readonly version: string | undefined
}

function send(socketPath: string, what: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method, path, timeoutMs = TIMEOUT_MS } = what
    const asked = request({ socketPath, method, path, timeout: timeoutMs }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () => {
        const version = response.headers[VERSION_HEADER]
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(parts).toString(),
          version: typeof version === 'string' ? version : undefined,
        })
      })
    })
    asked.on('timeout', () => asked.destroy(new Error(`no answer in ${timeoutMs / 1000} s`)))
    asked.on('error', reject)
    asked.end(what.body)
  })
}
