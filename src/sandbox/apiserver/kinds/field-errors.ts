// The reasons an object is refused, worded as Kubernetes words them, and the syntax rules many kinds share.

import { isIP } from 'node:net'
import type { FieldError } from '../kind.ts'
import { isCidr } from '../schema/formats.ts'
import { canonicalAddress } from './ip-ranges.ts'

function shown(value: unknown): string {
  return JSON.stringify(value) ?? 'null'
}

export function invalid(field: string, value: unknown, why: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${shown(value)}: ${why}` }
}

export function required(field: string, why = ''): FieldError {
  return {
    field,
    reason: 'FieldValueRequired',
    message: why === '' ? 'Required value' : `Required value: ${why}`,
  }
}

export function forbidden(field: string, why: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: `Forbidden: ${why}` }
}

export function duplicate(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${shown(value)}` }
}

export function notSupported(field: string, value: unknown, supported: readonly string[]): FieldError {
  const list = supported.map(shown).join(', ')
  return {
    field,
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${shown(value)}: supported values: ${list}`,
  }
}

export function tooMany(field: string, count: number, limit: number): FieldError {
  return {
    field,
    reason: 'FieldValueInvalid',
    message: `Too many: ${count}: must have at most ${limit} items`,
  }
}

const labelLimit = 63
const subdomainLimit = 253
const label1123 = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const label1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const namePart = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/

const label1123Rule =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " +
  "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
const label1035Rule =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end " +
  "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
const subdomainRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with " +
  "an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const qualifiedNameRule =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const labelValueRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with " +
  "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

function textErrors(field: string, text: string, pattern: RegExp, limit: number, rule: string): FieldError[] {
  if (text.length > limit) return [invalid(field, text, `must be no more than ${limit} characters`)]
  return pattern.test(text) ? [] : [invalid(field, text, rule)]
}

export function label1123Errors(field: string, text: string): FieldError[] {
  return textErrors(field, text, label1123, labelLimit, label1123Rule)
}

export function label1035Errors(field: string, text: string): FieldError[] {
  return textErrors(field, text, label1035, labelLimit, label1035Rule)
}

export function subdomainErrors(field: string, text: string): FieldError[] {
  return textErrors(field, text, subdomain, subdomainLimit, subdomainRule)
}

export function labelValueErrors(field: string, text: string): FieldError[] {
  return textErrors(field, text, labelValue, labelLimit, labelValueRule)
}

/** A label key: an optional DNS prefix and a name. */
export function qualifiedNameErrors(field: string, text: string): FieldError[] {
  const slash = text.indexOf('/')
  const name = text.slice(slash + 1)
  const prefix = slash < 0 ? undefined : text.slice(0, slash)
  if (prefix !== undefined && (prefix.length > subdomainLimit || !subdomain.test(prefix)))
    return [invalid(field, text, `prefix part ${subdomainRule}`)]
  if (name.length > labelLimit)
    return [invalid(field, text, `name part must be no more than ${labelLimit} characters`)]
  return namePart.test(name) ? [] : [invalid(field, text, qualifiedNameRule)]
}

export function labelsErrors(field: string, labels: Record<string, string> | undefined): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [
    ...qualifiedNameErrors(field, key),
    ...labelValueErrors(field, value),
  ])
}

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}

export function isEmptySelector(selector: LabelSelector | undefined): boolean {
  return (
    Object.keys(selector?.matchLabels ?? {}).length === 0 && (selector?.matchExpressions ?? []).length === 0
  )
}

export function labelSelectorErrors(field: string, selector: LabelSelector | undefined): FieldError[] {
  const errors = labelsErrors(`${field}.matchLabels`, selector?.matchLabels)
  for (const [index, expression] of (selector?.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${index}]`
    const hasValues = (expression.values ?? []).length > 0
    if (['In', 'NotIn'].includes(expression.operator) && !hasValues)
      errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"))
    if (['Exists', 'DoesNotExist'].includes(expression.operator) && hasValues)
      errors.push(
        forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
      )
    errors.push(...qualifiedNameErrors(`${at}.key`, expression.key))
    for (const [position, value] of (expression.values ?? []).entries())
      errors.push(...labelValueErrors(`${at}.values[${position}]`, value))
  }
  return errors
}

const portLimit = 65535

export function portErrors(field: string, port: number): FieldError[] {
  return Number.isInteger(port) && port >= 1 && port <= portLimit
    ? []
    : [invalid(field, port, `must be between 1 and ${portLimit}, inclusive`)]
}

const portNameLimit = 15

/** A port name as IANA service names are written: web, dns-tcp. */
export function portNameErrors(field: string, name: string): FieldError[] {
  if (name.length > portNameLimit)
    return [invalid(field, name, `must be no more than ${portNameLimit} characters`)]
  if (!/^[-a-z0-9]+$/.test(name))
    return [invalid(field, name, 'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)')]
  if (!/[a-z]/.test(name)) return [invalid(field, name, 'must contain at least one letter (a-z)')]
  if (name.includes('--')) return [invalid(field, name, 'must not contain consecutive hyphens')]
  if (name.startsWith('-') || name.endsWith('-'))
    return [invalid(field, name, 'must not begin or end with a hyphen')]
  return []
}

/** A port by number, or by the name of a container port. */
export function portOrNameErrors(field: string, value: number | string): FieldError[] {
  return typeof value === 'number' ? portErrors(field, value) : portNameErrors(field, value)
}

export function ipErrors(field: string, text: string): FieldError[] {
  return isIP(text) === 0
    ? [invalid(field, text, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
    : []
}

export function cidrErrors(field: string, text: string): FieldError[] {
  return isCidr(text)
    ? []
    : [invalid(field, text, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')]
}

export function nonNegativeErrors(field: string, value: number | undefined): FieldError[] {
  return value === undefined || value >= 0
    ? []
    : [invalid(field, value, 'must be greater than or equal to 0')]
}

/** Equality of plain JSON, whatever the order of keys. */
export function isSame(left: unknown, right: unknown): boolean {
  return canonical(left) === canonical(right)
}

function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ) ?? ''
  )
}

export function immutableErrors(field: string, value: unknown, before: unknown): FieldError[] {
  return isSame(value, before) ? [] : [invalid(field, value, 'field is immutable')]
}

/** Addresses of this machine or this link alone, which nothing may be reached at. */
export function ownAddressErrors(field: string, address: string): FieldError[] {
  const canonical = canonicalAddress(address)
  if (canonical === '0.0.0.0' || canonical === '::')
    return [invalid(field, address, `may not be unspecified (${canonical})`)]
  if (canonical.startsWith('127.') || canonical === '::1')
    return [invalid(field, address, 'may not be in the loopback range (127.0.0.0/8, ::1/128)')]
  if (canonical.startsWith('169.254.') || /^fe[89ab]/.test(canonical))
    return [invalid(field, address, 'may not be in the link-local range (169.254.0.0/16, fe80::/10)')]
  return []
}
