// The plan file: YAML that overrides parts of the default address plan. Checked whole before anything is built: an
// unknown key is answered with its path and the nearest known one. The same form is kept in the rack's state file.
//
//   nodes: 5
//   nodeAsn: shared
//   pools: { ipv4: 198.51.100.0/24 }
//   asns: { tor1: 65011 }
//   singleFamily: { node2: ipv4, node3: ipv6 }
//   unnumbered: true
//   agent: { services: { forwarding: snat } }

import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { FAMILY_NAMES } from '../model/address.ts'
import { nearMatches } from '../model/near-matches.ts'
import {
  type AddressPlan,
  DEFAULT_BASES,
  makeAddressPlan,
  NODES_DEFAULT,
  NODES_MAX,
  type NodeAsnMode,
  type Pair,
  type PlanBases,
} from './address-plan.ts'
import { type Family, formatNetwork, type Network, networksOverlap, parseNetwork } from './ip-arithmetic.ts'
import { RackError } from './rack-error.ts'

const ASN_MAX = 4_294_967_294
/** IPv6's least MTU, and the kernel's most for a veth. */
const MTU_MIN = 1280
const MTU_MAX = 65_535

/** How long each base may be at most, so that what is counted inside it fits. */
const LENGTH_MAX = {
  loopbacks: { ipv4: 24, ipv6: 112 },
  pods: { ipv4: 16, ipv6: 32 },
  links: { ipv4: 16, ipv6: 32 },
  clients: { ipv4: 16, ipv6: 32 },
  services: { ipv4: 24, ipv6: 120 },
  pools: { ipv4: 30, ipv6: 126 },
} as const
type BaseName = keyof typeof LENGTH_MAX
const BASE_NAMES = Object.keys(LENGTH_MAX) as BaseName[]

const asn = z.number().int().min(1).max(ASN_MAX)
const mtu = z.number().int().min(MTU_MIN).max(MTU_MAX)

function networkText(family: Family, lengthMax: number) {
  return z.string().transform((text, context) => {
    const parsed = parseNetwork(text)
    if (parsed?.family === family && parsed.length <= lengthMax) return parsed
    const example = family === 'ipv4' ? '10.20.0.0/16' : 'fd00:20::/32'
    const message = `'${text}' is not an ${FAMILY_NAMES[family]} prefix like ${example} (no bits behind the length, at most /${lengthMax})`
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}

function networkPair(name: BaseName) {
  return z
    .strictObject({
      ipv4: networkText('ipv4', LENGTH_MAX[name].ipv4).optional(),
      ipv6: networkText('ipv6', LENGTH_MAX[name].ipv6).optional(),
    })
    .optional()
}

const schema = z.strictObject({
  nodes: z.number().int().min(1).max(NODES_MAX).optional(),
  nodeAsn: z.enum(['per-node', 'shared']).optional(),
  loopbacks: networkPair('loopbacks'),
  pods: networkPair('pods'),
  links: networkPair('links'),
  clients: networkPair('clients'),
  services: networkPair('services'),
  pools: networkPair('pools'),
  asns: z
    .strictObject({ spine: asn.optional(), tor1: asn.optional(), tor2: asn.optional(), node: asn.optional() })
    .optional(),
  mtu: z.strictObject({ fabric: mtu.optional(), edge: mtu.optional() }).optional(),
  /** Nodes that speak one family alone, by name. */
  singleFamily: z.record(z.string().regex(/^node\d+$/), z.enum(['ipv4', 'ipv6'])).optional(),
  /** Nodes' uplinks have no addresses. */
  unnumbered: z.boolean().optional(),
  /** Checked by the agent itself, which refuses to start with what it does not know. */
  agent: z.record(z.string(), z.unknown()).optional(),
})

/** The keys that may stand below each key, for hints; '' is the top. */
const KEYS_BELOW: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(schema.shape),
  ...Object.fromEntries(BASE_NAMES.map((name) => [name, ['ipv4', 'ipv6']])),
  asns: Object.keys(DEFAULT_BASES.asns),
  mtu: Object.keys(DEFAULT_BASES.mtu),
}

/** What the command line may say over the file. */
export interface PlanOverrides {
  readonly nodes?: number | undefined
  readonly nodeAsn?: NodeAsnMode | undefined
}

/** Parses a plan file's text. `source` is what messages call it. */
export function parsePlan(text: string, source: string, overrides: PlanOverrides = {}): AddressPlan {
  let document: unknown
  try {
    document = parseYaml(text) ?? {}
  } catch (cause) {
    throw new RackError('bad-plan', `${source} is not valid YAML`, 'see the cause and its line', { cause })
  }
  return planFromDocument(document, source, overrides)
}

export function planFromDocument(
  document: unknown,
  source: string,
  overrides: PlanOverrides = {},
): AddressPlan {
  const whole =
    typeof document === 'object' && document !== null
      ? { ...document, ...dropUndefined(overrides) }
      : document
  const result = schema.safeParse(whole)
  if (!result.success) {
    throw new RackError('bad-plan', `${source} is refused`, 'correct these keys', {
      detail: result.error.issues.flatMap(describeIssue),
    })
  }
  const given = result.data
  const pair = (name: BaseName): Pair<Network> => ({
    ...DEFAULT_BASES[name],
    ...dropUndefined(given[name] ?? {}),
  })
  const bases: PlanBases = {
    loopbacks: pair('loopbacks'),
    pods: pair('pods'),
    links: pair('links'),
    clients: pair('clients'),
    services: pair('services'),
    pools: pair('pools'),
    asns: { ...DEFAULT_BASES.asns, ...dropUndefined(given.asns ?? {}) },
    mtu: { ...DEFAULT_BASES.mtu, ...dropUndefined(given.mtu ?? {}) },
  }
  checkBases(bases, source)
  if (given.unnumbered && Object.keys(given.singleFamily ?? {}).length > 0)
    throw new RackError(
      'bad-plan',
      `${source}: unnumbered and singleFamily do not go together`,
      'a session over link-local addresses carries both families: leave one of the two out',
    )
  return makeAddressPlan(
    given.nodes ?? NODES_DEFAULT,
    given.nodeAsn ?? 'per-node',
    bases,
    given.agent,
    given.singleFamily,
    given.unnumbered,
  )
}

/** The document that yields this plan again. */
export function planDocument(plan: AddressPlan): Record<string, unknown> {
  const text = (name: BaseName): Pair<string> => ({
    ipv4: formatNetwork(plan.bases[name].ipv4),
    ipv6: formatNetwork(plan.bases[name].ipv6),
  })
  return {
    nodes: plan.nodes.length,
    nodeAsn: plan.nodeAsnMode,
    ...Object.fromEntries(BASE_NAMES.map((name) => [name, text(name)])),
    asns: plan.bases.asns,
    mtu: plan.bases.mtu,
    ...(Object.keys(plan.singleFamily).length > 0 ? { singleFamily: plan.singleFamily } : {}),
    ...(plan.isUnnumbered ? { unnumbered: true } : {}),
    ...(Object.keys(plan.agent).length > 0 ? { agent: plan.agent } : {}),
  }
}

function checkBases(bases: PlanBases, source: string): void {
  const all = BASE_NAMES.flatMap((name) =>
    (['ipv4', 'ipv6'] as const).map((family) => ({
      name: `${name}.${family}`,
      network: bases[name][family],
    })),
  )
  for (const [index, a] of all.entries()) {
    const other = all.slice(index + 1).find((b) => networksOverlap(a.network, b.network))
    if (!other) continue
    throw new RackError(
      'bad-plan',
      `${source}: ${a.name} (${formatNetwork(a.network)}) overlaps ${other.name} (${formatNetwork(other.network)})`,
      'give each its own prefix; `weir sandbox status` of a default rack shows a set that fits',
    )
  }
  const { spine, tor1, tor2, node } = bases.asns
  const routers = new Set([spine, tor1, tor2])
  if (routers.size < 3 || [...routers].some((one) => one >= node && one <= node + NODES_MAX)) {
    throw new RackError(
      'bad-plan',
      `${source}: asns collide (spine ${spine}, tor1 ${tor1}, tor2 ${tor2}, nodes from ${node} on)`,
      'eBGP needs a different number for each router, outside the nodes',
    )
  }
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String).join('.')
  if (issue.code !== 'unrecognized_keys') return [`${path || '(top level)'}: ${issue.message}`]
  return issue.keys.map((key) => {
    const near = nearMatches(key, KEYS_BELOW[path] ?? [], 1)
    const hint = near.length > 0 ? ` (did you mean '${near[0]}'?)` : ''
    return `${[...issue.path.map(String), key].join('.')}: unknown key${hint}`
  })
}

/** Spreading an absent key as undefined would hide the default. */
function dropUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
