// What random worlds are spelled with: few names, labels, ports and nested prefixes, so that rules match, overlap and just miss.

import fc from 'fast-check'
import { liesWithin, type Prefix, prefixParts } from '../../../src/model/address.ts'
import type { LabelSelector } from '../../../src/model/label-selector.ts'
import { NAMESPACE_NAME_LABEL, SERVICE_ACCOUNT_LABEL } from '../../../src/model/policy.ts'

/** Key → its values. */
type Alphabet = Readonly<Record<string, readonly string[]>>

export const NAMESPACES = ['x', 'y', 'z'] as const
export const ACCOUNTS = ['default', 'robot'] as const

export const POD_LABELS: Alphabet = { app: ['a', 'b', 'c'], tier: ['web', 'db'] }
export const NAMESPACE_LABELS: Alphabet = { env: ['prod', 'dev'] }
export const NODE_LABELS: Alphabet = { role: ['control', 'worker'] }
export const GROUP_LABELS: Alphabet = { set: ['staff', 'guest'] }
export const SERVICE_LABELS: Alphabet = { app: ['a', 'b'] }

/** What selectors may ask for beside labels. */
export const POD_SELECTORS: Alphabet = { ...POD_LABELS, [SERVICE_ACCOUNT_LABEL]: ACCOUNTS }
export const NAMESPACE_SELECTORS: Alphabet = { ...NAMESPACE_LABELS, [NAMESPACE_NAME_LABEL]: NAMESPACES }
export const SERVICE_SELECTORS: Alphabet = {
  ...SERVICE_LABELS,
  'io.kubernetes.service.name': ['s0', 's1'],
  'io.kubernetes.service.namespace': NAMESPACES,
}

export const PORTS = [1, 53, 80, 81, 443, 8080, 65535] as const
export const PORT_NAMES = ['http', 'dns'] as const
export const ICMP_TYPES = { ipv4: [0, 3, 8, 255], ipv6: [0, 1, 128, 255] } as const

/** Nested within one another; of pods, nodes and outsiders; and ends on both sides of IPv6's 64 bits. */
export const PREFIXES = [
  '0.0.0.0/0',
  '128.0.0.0/1',
  '10.0.0.0/8',
  '10.0.0.0/16',
  '10.0.1.0/24',
  '10.0.1.0/30',
  '10.0.1.2/32',
  '10.255.0.0/24',
  '192.168.0.0/24',
  '192.168.0.2/31',
  '192.168.0.1/32',
  '203.0.113.0/24',
  '203.0.113.0/25',
  '203.0.113.64/26',
  '203.0.113.7/32',
  '198.51.100.0/24',
  '198.51.100.128/25',
  '::/0',
  '8000::/1',
  'fd00::/15',
  'fd00::/64',
  'fd00::1:0/112',
  'fd00::1:2/128',
  'fd01::/64',
  'fd01::1/128',
  '2001:db8::/32',
  '2001:db8:1::/48',
  '2001:db8:1::/64',
  '2001:db8:1:0:8000::/65',
  '2001:db8:1::7/128',
] as Prefix[]

export const OUTSIDERS = [
  '203.0.113.7',
  '203.0.113.64',
  '203.0.113.200',
  '198.51.100.1',
  '198.51.100.200',
  '8.8.8.8',
  '2001:db8:1::7',
  '2001:db8:1:0:8000::1',
  '2001:db8:1:1::1',
  '2001:db8:2::1',
  '2600::1',
] as const

function contains(outer: Prefix, inner: Prefix): boolean {
  const [a, b] = [prefixParts(outer), prefixParts(inner)]
  return a.length < b.length && liesWithin(b, a)
}

const WITHIN: ReadonlyMap<Prefix, readonly Prefix[]> = new Map(
  PREFIXES.map((outer) => [outer, PREFIXES.filter((inner) => contains(outer, inner))]),
)

/** The prefixes above that lie within another and are smaller. */
export function prefixesWithin(outer: Prefix): readonly Prefix[] {
  return WITHIN.get(outer) ?? []
}

export function pick<T>(values: readonly T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...values)
}

/** Of `weight` parts each. */
export function weighted<T>(
  ...choices: readonly (readonly [weight: number, fc.Arbitrary<T>])[]
): fc.Arbitrary<T> {
  return fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })))
}

export function chance(percent: number): fc.Arbitrary<boolean> {
  return fc.integer({ min: 0, max: 99 }).map((value) => value < percent)
}

/** Each label is there or not, with any of its values. */
export function labelsOf(alphabet: Alphabet): fc.Arbitrary<Readonly<Record<string, string>>> {
  const entries = Object.entries(alphabet).map(([key, values]) =>
    pick([undefined, ...values]).map((value): [string, string][] =>
      value === undefined ? [] : [[key, value]],
    ),
  )
  return fc.tuple(...entries).map((chosen) => Object.fromEntries(chosen.flat()))
}

type Requirement = LabelSelector['requirements'][number]

function requirementOf(key: string, values: readonly string[]): fc.Arbitrary<Requirement> {
  const listed = fc.subarray([...values, 'unknown'], { minLength: 1, maxLength: 2 })
  return fc.oneof(
    {
      weight: 4,
      arbitrary: pick(values).map((value) => ({ key, operator: 'In' as const, values: [value] })),
    },
    { weight: 1, arbitrary: listed.map((some) => ({ key, operator: 'In' as const, values: some })) },
    { weight: 2, arbitrary: listed.map((some) => ({ key, operator: 'NotIn' as const, values: some })) },
    {
      weight: 1,
      arbitrary: pick(['Exists', 'DoesNotExist'] as const).map((operator) => ({ key, operator, values: [] })),
    },
  )
}

/** Mostly one requirement, which few words make likely to hold. */
export function selectorOf(alphabet: Alphabet): fc.Arbitrary<LabelSelector> {
  const requirement = fc.oneof(...Object.entries(alphabet).map(([key, values]) => requirementOf(key, values)))
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant({ requirements: [] }) },
    { weight: 5, arbitrary: requirement.map((only) => ({ requirements: [only] })) },
    { weight: 1, arbitrary: fc.tuple(requirement, requirement).map((both) => ({ requirements: both })) },
  )
}
