// A rule's number in words: what drops, records and the kernel's rows name.

import type { RuleId } from '../policy/compile/rows.ts'
import type { BuiltInCause, RuleName } from '../policy/compile/rule-ids.ts'

const BUILT_IN_TEXTS: Readonly<Record<BuiltInCause, string>> = {
  none: 'no rule',
  default: 'no policy decides it',
  self: 'it speaks to itself',
  'own-node': 'its own node speaks to it',
  'no-room': 'the rows found no room, which closes',
  'fail-safe': 'a port at which the node stays in touch',
  unknown: 'nothing is known of the pod yet, which closes',
  untranslated:
    'it goes to a Service past the socket, where nobody knows its backend (see datapath.perPacket)',
}

export function ruleText(rule: RuleId, name: RuleName | BuiltInCause | undefined): string {
  if (name === undefined) return `rule ${rule}, of a policy that is gone`
  if (typeof name === 'string') return BUILT_IN_TEXTS[name]
  const { kind, key, direction, index, path } = name
  return index < 0 ? `${kind} ${key} isolates ${direction}` : `${kind} ${key}, ${path}`
}
