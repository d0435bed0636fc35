// Reading one field of a foreign object: its value, or a Problem that names field, value and mend. What cannot be read is
// skipped, for one bad address in a hand-written object must not take the others down.

import {
  type Address,
  FAMILY_NAMES,
  type Family,
  familyOf,
  type Prefix,
  parseAddress,
  parseNetwork,
} from '../model/address.ts'
import { PORT_MAX } from '../model/policy.ts'
import type { Problem, Protocol } from '../model/service.ts'

/** Values in messages are cut there: an annotation may hold 256 KiB. */
export const SHOWN_VALUE_MAX = 64

export function problemAt(field: string, value: unknown, why: string): Problem {
  const text = String(value)
  const shown = text.length > SHOWN_VALUE_MAX ? `${text.slice(0, SHOWN_VALUE_MAX)}…` : text
  return { reason: 'InvalidValue', what: `${field} '${shown}'`, why }
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']

/** A later Kubernetes may have more of them; their ports are not ours to serve. */
export function readProtocol(
  text: string | undefined,
  field: string,
  problems: Problem[],
): Protocol | undefined {
  const known = PROTOCOLS.find((protocol) => protocol === (text ?? 'TCP'))
  if (known === undefined)
    problems.push(problemAt(field, text, `is not served here; write one of ${PROTOCOLS.join(', ')}`))
  return known
}

export function notAnAddress(field: string, text: string): Problem {
  return problemAt(field, text, 'is not an IP address; write one')
}

/** The addresses of a list; entries that are absent or empty are no mistake. */
export function readAddresses(
  field: (index: number) => string,
  texts: readonly (string | undefined)[],
  problems: Problem[],
): Address[] {
  const addresses: Address[] = []
  for (const [index, text] of texts.entries()) {
    if (text === undefined || text === '') continue
    const parsed = parseAddress(text)
    if (parsed === undefined) problems.push(notAnAddress(field(index), text))
    else addresses.push(parsed)
  }
  return addresses
}

/** The networks of a list, host bits cut off. */
export function readNetworks(
  field: string,
  texts: readonly string[] | undefined,
  problems: Problem[],
): Prefix[] {
  const prefixes: Prefix[] = []
  for (const [index, text] of (texts ?? []).entries()) {
    const parsed = parseNetwork(text)
    if (parsed === undefined)
      problems.push(
        problemAt(
          `${field}[${index}]`,
          text,
          'is not a network; write one like 192.0.2.0/24 or 2001:db8::/32',
        ),
      )
    else prefixes.push(parsed)
  }
  return prefixes
}

/** Whether the address belongs to a family that its object has; else tells of it as kube-proxy does. */
export function isInFamilies(
  address: Address,
  families: readonly Family[],
  field: string,
  problems: Problem[],
): boolean {
  const family = familyOf(address)
  if (families.includes(family)) return true
  problems.push({
    reason: 'KubeProxyIncorrectIPVersion',
    what: `${field} '${address}'`,
    why: `is ${FAMILY_NAMES[family]}, but this object has ${families.map((one) => FAMILY_NAMES[one]).join(' and ')} only; use an address of that family`,
  })
  return false
}

export function isPort(port: unknown, min = 1): port is number {
  return typeof port === 'number' && Number.isInteger(port) && port >= min && port <= PORT_MAX
}

/** The value of an annotation that takes one of a few words; undefined when it is absent or says anything else. */
export function readChoice<Word extends string>(
  annotations: Readonly<Record<string, string>> | undefined,
  name: string,
  words: readonly Word[],
  problems: Problem[],
): Word | undefined {
  const value = annotations?.[name]
  if (value === undefined) return undefined
  const found = words.find((word) => word === value.trim())
  if (found === undefined)
    problems.push(
      problemAt(`annotation ${name}`, value, `is not known; write ${words.join(' or ')}, or remove it`),
    )
  return found
}
