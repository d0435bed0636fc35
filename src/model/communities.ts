// BGP communities as people write them → canonical text: RFC 1997 (`65101:100`, or a well-known name), RFC 8092 (`65101:1:2`). Pure.

import { nearMatches } from './near-matches.ts'
import type { RouteAttributes } from './routing.ts'

/** RFC 8326: whoever else can take the traffic should. */
export const GRACEFUL_SHUTDOWN = '65535:0'

/** IANA's registry of well-known communities; some have two names in use, and are shown by the first. */
export const WELL_KNOWN_COMMUNITIES: Readonly<Record<string, string>> = {
  internet: '0:0',
  'graceful-shutdown': GRACEFUL_SHUTDOWN,
  'planned-shut': GRACEFUL_SHUTDOWN,
  'accept-own': '65535:1',
  'route-filter-translated-v4': '65535:2',
  'route-filter-v4': '65535:3',
  'route-filter-translated-v6': '65535:4',
  'route-filter-v6': '65535:5',
  'llgr-stale': '65535:6',
  'no-llgr': '65535:7',
  'accept-own-nexthop': '65535:8',
  'standby-pe': '65535:9',
  blackhole: '65535:666',
  'no-export': '65535:65281',
  'no-advertise': '65535:65282',
  'no-export-subconfed': '65535:65283',
  'local-as': '65535:65283',
  'no-peer': '65535:65284',
}

const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(WELL_KNOWN_COMMUNITIES)
    .map(([name, text]) => [text, name] as const)
    .reverse(),
)

/** The other way round: a well-known community by its name, as routers show it; any other as it is. */
export function showCommunity(text: string): string {
  return NAMES.get(text) ?? text
}

const HALF_MAX = 0xffff
const WORD_MAX = 0xffff_ffff

export interface Community {
  readonly kind: 'standard' | 'large'
  readonly text: string
}

/** Undefined: it is none. Names are read whatever their case; a lone number is the 32 bits of a standard community. */
export function parseCommunity(given: string): Community | undefined {
  const text = given.trim()
  const name = text.toLowerCase()
  const known = Object.hasOwn(WELL_KNOWN_COMMUNITIES, name) ? WELL_KNOWN_COMMUNITIES[name] : undefined
  if (known !== undefined) return { kind: 'standard', text: known }
  if (!/^\d{1,10}(:\d{1,10}){0,2}$/.test(text)) return undefined
  const numbers = text.split(':').map(Number)
  const [first = 0] = numbers
  if (numbers.length === 1 && first <= WORD_MAX)
    return { kind: 'standard', text: `${first >>> 16}:${first & HALF_MAX}` }
  const most = numbers.length === 2 ? HALF_MAX : WORD_MAX
  if (numbers.length === 1 || numbers.some((number) => number > most)) return undefined
  return { kind: numbers.length === 2 ? 'standard' : 'large', text: numbers.join(':') }
}

/** What is wrong with a text that is no community, and the mend. */
export function describeBadCommunity(text: string): string {
  const near = nearMatches(text.trim(), Object.keys(WELL_KNOWN_COMMUNITIES), 1)[0]
  const hint = near === undefined ? '' : ` (did you mean '${near}'?)`
  return `is no community${hint}: write 65101:100, 65101:1:2 or a well-known name like no-export`
}

/** Sorted and without doubles, as the model wants them. */
export function communitiesOf(
  communities: readonly Community[],
): Pick<RouteAttributes, 'communities' | 'largeCommunities'> {
  const texts = (kind: Community['kind']) =>
    [...new Set(communities.filter((one) => one.kind === kind).map(({ text }) => text))].sort(byNumbers)
  return { communities: texts('standard'), largeCommunities: texts('large') }
}

function byNumbers(a: string, b: string): number {
  const left = a.split(':').map(Number)
  const right = b.split(':').map(Number)
  const at = left.findIndex((number, place) => number !== right[place])
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0)
}
