// The chains of calico-chains.ts as text for `iptables-restore`, and their sets for `ipset restore`. As Felix does, a change writes the chains
// that it concerns, and adds or takes single members of sets.

import {
  type Action,
  addressSets,
  type Chain,
  dispatchChains,
  FORWARD_RULES,
  forwardChains,
  hex,
  lines,
  type Match,
  podChains,
  policyChains,
  type Rule,
  ruleHash,
} from './calico-chains.ts'
import type { GuardedNode, GuardedPolicy, RestoreTexts } from './guarded.ts'

const SET_OPTIONS = 'hash:net family inet maxelem 1048576'

/** Everything, for empty tables. */
export function calicoIptablesFull(node: GuardedNode, prefix: string): RestoreTexts {
  const chains = [
    ...podChains(node),
    ...forwardChains(prefix),
    ...dispatchChains(node.pods, 'from', prefix),
    ...dispatchChains(node.pods, 'to', prefix),
  ]
  const rules = ['*filter', ...chains.map(chainLine)]
  for (const chain of [{ name: 'FORWARD', rules: FORWARD_RULES }, ...chains]) rules.push(...rulesOf(chain))
  const sets = [...addressSets(node.policies)].flatMap(([name, addresses]) => [
    `create ${name} ${SET_OPTIONS}`,
    ...addresses.map((address) => `add ${name} ${address}`),
  ])
  return { sets: lines(sets), rules: lines([...rules, 'COMMIT']) }
}

/** For `iptables-restore --noflush`: the chains of a policy whose rules changed. */
export function calicoIptablesChange(policy: GuardedPolicy): string {
  const chains = policyChains(policy)
  return lines(['*filter', ...chains.map(chainLine), ...chains.flatMap(rulesOf), 'COMMIT'])
}

/** For `ipset restore`: an address that a selector selects now, or no more. */
export function calicoIpsetChange(set: string, address: string, isThere: boolean): string {
  return lines([isThere ? `add ${set} ${address}` : `del ${set} ${address} --exist`])
}

/** Makes the chain, and empties one that is there. */
const chainLine = ({ name }: Chain) => `:${name} - [0:0]`

function rulesOf({ name, rules }: Chain): string[] {
  return rules.map((rule, place) => `-A ${name} ${ruleText(rule, ruleHash(name, place))}`)
}

function ruleText({ match, action, comment }: Rule, hash: string): string {
  const comments = [hash, ...(comment === undefined ? [] : [comment])]
  return [
    ...comments.map((text) => `-m comment --comment "${text}"`),
    ...matchTexts(match),
    actionText(action),
  ].join(' ')
}

function matchTexts(match: Match): string[] {
  const { state, inDevice, outDevice, protocol, ports, sourceSet, destinationSet, clear, set, some } = match
  const device = (name: string) => name.replace('*', '+')
  return [
    ...(inDevice === undefined ? [] : [`--in-interface ${device(inDevice)}`]),
    ...(outDevice === undefined ? [] : [`--out-interface ${device(outDevice)}`]),
    ...(state === 'established' ? ['-m conntrack --ctstate RELATED,ESTABLISHED'] : []),
    ...(state === 'invalid' ? ['-m conntrack --ctstate INVALID'] : []),
    ...(clear === undefined ? [] : [`-m mark --mark 0x0/${hex(clear)}`]),
    ...(set === undefined ? [] : [`-m mark --mark ${hex(set)}/${hex(set)}`]),
    ...(some === undefined ? [] : [`-m mark ! --mark 0x0/${hex(some)}`]),
    ...(protocol === undefined ? [] : [`-p ${protocol}`]),
    ...(sourceSet === undefined ? [] : [`-m set --match-set ${sourceSet} src`]),
    ...(destinationSet === undefined ? [] : [`-m set --match-set ${destinationSet} dst`]),
    ...(ports === undefined ? [] : [`-m multiport --destination-ports ${ports.join(',')}`]),
  ]
}

function actionText(action: Action): string {
  if (typeof action === 'string') return `--jump ${action.toUpperCase()}`
  if ('jump' in action) return `--jump ${action.jump}`
  if ('goto' in action) return `--goto ${action.goto}`
  if ('setMark' in action) return `--jump MARK --set-mark ${hex(action.setMark)}/${hex(action.setMark)}`
  return `--jump MARK --set-mark 0/${hex(action.clearMark)}`
}
