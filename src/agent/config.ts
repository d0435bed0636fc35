// The agent's configuration file: one schema, checked whole before anything starts. A wrong key or value is refused with its
// path and, for a misspelt key, the nearest known one.

import { readFileSync } from 'node:fs'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { z } from 'zod'
import { parseAddress } from '../model/address.ts'
import { nearMatches } from '../model/near-matches.ts'
import { prefixText, together } from './config-fields.ts'
import { checkPools, poolsSchema } from './config-pools.ts'
import { routingSchema } from './config-routing.ts'
import { failSafePortsSchema } from './fail-safe-ports.ts'
import { masqueradePorts } from './masquerade-rules.ts'

export class ConfigError extends Error {
  readonly code: 'UNREADABLE' | 'NOT_YAML' | 'INVALID'
  constructor(code: ConfigError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** Where to listen, or `none`; no host means every address of both families, as with kube-proxy's 0.0.0.0. */
const listenText = z.string().transform((text, context) => {
  if (text === 'none') return undefined
  const match = /^(?:\[(.+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const host = parseAddress(match?.[1] ?? match?.[2] ?? '')
  const port = Number(match?.[3])
  if (host !== undefined && port > 0 && port <= 65_535)
    return { host: UNSPECIFIED.has(host) ? undefined : host, port }
  context.addIssue({
    code: 'custom',
    message: `'${text}' is neither an address and port like 127.0.0.1:10249 or [::]:10256, nor 'none'`,
  })
  return z.NEVER
})

const portRangeText = z.string().transform((text, context) => {
  const [first = 0, last = 0] = (/^(\d{1,5})-(\d{1,5})$/.exec(text.trim()) ?? []).slice(1).map(Number)
  if (first >= SNAT_PORT_MIN && first < last && last <= 65_535) return { first, last }
  context.addIssue({
    code: 'custom',
    message: `'${text}' is not a range of ports like 61000-65535, above ${SNAT_PORT_MIN - 1}`,
  })
  return z.NEVER
})

/** Ports below are services' own, and reserved. */
const SNAT_PORT_MIN = 1024

/** The kernel refuses maps of more memory than the machine has; these bounds only catch slips of the pen. */
const CAPACITY_MAX = 1 << 26
const CAPACITY_MIN = 16

const capacity = z.number().int().min(CAPACITY_MIN).max(CAPACITY_MAX).optional()

/** Entries of the kernel's tables; what is absent has the size that bpf/maps.h gives it. */
const capacitiesSchema = z.strictObject({
  frontends: capacity,
  slots: capacity,
  backends: capacity,
  flows: capacity.refine((count) => count === undefined || (count & (count - 1)) === 0, {
    message: 'must be a power of two',
  }),
  affinity: capacity,
  sourceRanges: capacity,
  fragments: capacity,
})

const configFields = z.strictObject({
  nodeName: z.string().min(1),
  stateDirectory: z.string().startsWith('/'),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  kubernetes: z.strictObject({
    servers: z.array(z.url({ protocol: /^https?$/ })).min(1),
    caFile: z.string().startsWith('/').optional(),
    tokenFile: z.string().startsWith('/').optional(),
    /** A starting agent waits a random part of this before it asks, for after a power cut all nodes start at once. */
    startSpreadSeconds: z.number().min(0).max(600).default(0),
  }),
  datapath: z.strictObject({
    bpffs: z.string().startsWith('/'),
    cgroup: z.string().startsWith('/'),
    uplinks: z.array(z.string().min(1).max(15)).min(1).max(4),
    /** `auto`: XDP where the device takes it and nobody else has it, else tc. */
    uplinkHook: z.enum(['auto', 'xdp', 'tc']).default('auto'),
    objects: z.string().startsWith('/').optional(),
    snatPorts: portRangeText.prefault('61000-65535'),
    tunnel: z.enum(['geneve', 'ipip']).default('geneve'),
    /** SYN-ACKs of tunnelled connections announce what fits beside the tunnel's header. */
    mssClamp: z.boolean().default(false),
    /** Pods' packets are balanced at their device too, for workloads that bypass the socket hooks. */
    perPacket: z.boolean().default(false),
    capacities: capacitiesSchema.prefault({}),
  }),
  services: z
    .strictObject({
      /** `primary`: one address of each family. Loopback addresses serve the node's own sockets. */
      nodePortAddresses: z.union([z.literal('primary'), z.array(prefixText).min(1)]).default('primary'),
      externalIPs: z
        .strictObject({
          enabled: z.boolean().default(true),
          /** Absent: every address but nodes', pods', routers' and API servers'. */
          allow: z.array(prefixText).optional(),
        })
        .prefault({}),
      hostPorts: z.boolean().default(true),
      /** Connections of this node's pods and processes to a Service's pod that is gone are ended; UDP sockets always are. */
      endTcpOfGonePods: z.boolean().default(false),
      forwarding: z.enum(['dsr', 'snat']).default('snat'),
    })
    .prefault({}),
  routing: routingSchema,
  /** Traffic that pods open to outside the cluster gets this node's address. */
  masquerade: z
    .strictObject({
      enabled: z.boolean().default(false),
      /** Networks that keep seeing pods' addresses, beside nodes, pods, Services and pools. */
      except: z.array(prefixText).default([]),
      families: z
        .array(z.enum(['ipv4', 'ipv6']))
        .min(1)
        .default(['ipv4', 'ipv6']),
    })
    .prefault({}),
  /** /healthz and /livez. */
  health: z
    .strictObject({
      address: listenText.prefault('0.0.0.0:10256'),
      /** Changes are written at once; one that waits for twice this long makes the node unhealthy. */
      syncSeconds: z.number().min(1).max(3600).default(30),
    })
    .prefault({}),
  metrics: z.strictObject({ address: listenText.prefault('127.0.0.1:10249') }).prefault({}),
  policy: z
    .strictObject({
      /** Every pod's packets are judged by the cluster's policies, and pods that nothing is known of are closed. Absent: see `isPolicyOurs`. */
      enforce: z.boolean().optional(),
      /** What becomes of connections that are allowed no more, where their policy does not say. */
      existingConnections: z.enum(['recheck', 'keep']).default('recheck'),
      /** The cgroup that the kubelet puts pods into; absent: kubepods or kubepods.slice, found below datapath.cgroup. */
      podsCgroup: z.string().startsWith('/').optional(),
      /** Ports of the node that its policies close only by a deny that names them. */
      failSafePorts: failSafePortsSchema,
    })
    .prefault({}),
  pools: poolsSchema,
})

/** Masqueraded flows need ports that neither node ports nor the datapath's own SNAT use. */
function checkMasquerade(
  { masquerade, datapath }: z.infer<typeof configFields>,
  context: z.RefinementCtx,
): void {
  if (!masquerade.enabled || masqueradePorts(datapath.snatPorts)) return
  context.addIssue({
    code: 'custom',
    path: ['masquerade', 'enabled'],
    message: 'datapath.snatPorts leaves no ports above 32767 for it; narrow that range',
  })
}

/** kube-router enforces policy itself. */
function isPolicyOurs({ routing }: z.infer<typeof configFields>): boolean {
  return routing.mode !== 'kube-router'
}

const configSchema = configFields
  .superRefine(together<z.infer<typeof configFields>>(checkPools))
  .superRefine(together<z.infer<typeof configFields>>(checkMasquerade))
  .transform((config) => ({
    ...config,
    policy: { ...config.policy, enforce: config.policy.enforce ?? isPolicyOurs(config) },
  }))

export type AgentConfig = z.infer<typeof configSchema>

/** Reads and checks the file. Throws ConfigError naming the file, the key and the mend. */
export function loadConfig(file: string): AgentConfig {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError('UNREADABLE', `cannot read ${file}: name an existing file with --config`, error)
  }
  return parseConfig(text, file)
}

/**
 * @param source what messages call the text
 * @param environment fills `${NAME}`, so that one ConfigMap serves every node
 */
export function parseConfig(
  text: string,
  source: string,
  environment: Environment = process.env,
): AgentConfig {
  return checkDocument(readDocument(text, source, environment), source)
}

type Environment = Readonly<Record<string, string | undefined>>

/** The text as plain data, unchecked. */
export function readDocument(text: string, source: string, environment: Environment = process.env): unknown {
  try {
    return parseYaml(fillIn(text, source, environment))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const where = error instanceof YAMLParseError ? ` (line ${error.linePos?.[0].line ?? '?'})` : ''
    throw new ConfigError('NOT_YAML', `${source}${where} is not valid YAML${yamlReason(error)}`, error)
  }
}

/** The parser's sentence, without the excerpt below it. An IPv6 address that ends in a colon reads as a key. */
function yamlReason(error: unknown): string {
  if (!(error instanceof YAMLParseError)) return ''
  const reason = error.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '')
  return `: ${reason}. Mend: an IPv6 address that ends in '::' stands in quotes, indents are spaces of one depth`
}

export function checkDocument(document: unknown, source: string): AgentConfig {
  const result = configSchema.safeParse(document)
  if (result.success) return result.data
  const { issues } = result.error
  const lines = issues
    .filter((issue) => !isMisspelt(issue, issues))
    .map((issue) => `  ${describeIssue(issue)}`)
  throw new ConfigError('INVALID', `${source} is refused:\n${lines.join('\n')}`)
}

/** Comments are left alone, so that they can speak of variables. */
function fillIn(text: string, source: string, environment: Environment): string {
  return text.replace(/#.*|\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (whole: string, name?: string) => {
    if (name === undefined) return whole
    const value = environment[name]
    if (value !== undefined) return value
    throw new ConfigError(
      'INVALID',
      `${source} uses \${${name}}, which is not set: set it in the environment of weir, or write the value`,
    )
  })
}

/** Every key by its last name. */
export const KNOWN_KEYS: ReadonlySet<string> = collectKeys(configFields)

/** Through everything that wraps: what a transform comes from, and what comes of preprocessing. */
function collectKeys(schema: z.core.$ZodType, into = new Set<string>()): Set<string> {
  const { def } = schema._zod as z.core.$ZodTypes['_zod']
  switch (def.type) {
    case 'object':
      for (const [key, field] of Object.entries(def.shape)) collectKeys(field, into.add(key))
      break
    case 'array':
      return collectKeys(def.element, into)
    case 'union':
      for (const option of def.options) collectKeys(option, into)
      break
    case 'pipe':
      collectKeys(def.in, into)
      return collectKeys(def.out, into)
    case 'optional':
    case 'default':
    case 'prefault':
      return collectKeys(def.innerType, into)
  }
  return into
}

const nearKey = (key: string): string | undefined => nearMatches(key, [...KNOWN_KEYS], 1)[0]

/** A required key that is not there because it is misspelt: the complaint about the unknown key says it all. */
function isMisspelt(issue: z.core.$ZodIssue, issues: readonly z.core.$ZodIssue[]): boolean {
  const parent = issue.path.slice(0, -1).join('.')
  return issues.some(
    (other) =>
      other.code === 'unrecognized_keys' &&
      other.path.join('.') === parent &&
      other.keys.some((key) => nearKey(key) === issue.path.at(-1)),
  )
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
  const where = path.replace(/^\./, '') || '(top level)'
  if (issue.code !== 'unrecognized_keys') return `${where}: ${issue.message}`
  const hints = issue.keys.map((key) => {
    const mend = RETIRED_KEYS[[...issue.path, key].join('.')]
    if (mend !== undefined) return `'${key}' is no more: ${mend}`
    const near = nearKey(key)
    // In braces, a password in clear is a key.
    const name = issue.path.includes('password') ? '' : ` '${key}'`
    return near ? `unknown key${name} (did you mean '${near}'?)` : `unknown key${name}`
  })
  return `${where}: ${hints.join(', ')}`
}

const RETIRED_KEYS: Readonly<Record<string, string>> = {
  'datapath.mode': 'remove it, and say services.forwarding: dsr or snat',
}
