// Every refusal of the API server, as the `Status` object clients expect (meta/v1 Status). One factory per reason; messages follow
// the wording Kubernetes clients and people know, because kubectl prints them unchanged and scripts match them.

import type { FieldError, KindDefinition } from './kind.ts'
import type { Attributes } from './request-attributes.ts'

export type StatusReason =
  | 'BadRequest'
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Expired'
  | 'Invalid'
  | 'UnsupportedMediaType'
  | 'RequestEntityTooLarge'
  | 'TooManyRequests'
  | 'Timeout'
  | 'InternalError'
  | 'NotImplemented'
  | ''

export interface StatusCause {
  reason?: string
  message: string
  field?: string
}

export interface StatusDetails {
  name?: string
  group?: string
  kind?: string
  uid?: string
  causes?: StatusCause[]
  retryAfterSeconds?: number
}

export interface Status {
  kind: 'Status'
  apiVersion: 'v1'
  metadata: Record<string, never>
  status: 'Success' | 'Failure'
  message?: string
  reason?: StatusReason
  details?: StatusDetails
  code?: number
}

export class StatusError extends Error {
  readonly code: number
  readonly reason: StatusReason
  readonly details: StatusDetails | undefined

  constructor(code: number, reason: StatusReason, message: string, details?: StatusDetails) {
    super(message)
    this.name = 'StatusError'
    this.code = code
    this.reason = reason
    this.details = details
  }

  toStatus(): Status {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason === '' ? {} : { reason: this.reason }),
      ...(this.details ? { details: this.details } : {}),
      code: this.code,
    }
  }
}

type Named = Pick<KindDefinition, 'group' | 'plural' | 'kind'>

/** `services`, `deployments.apps`: how messages name a resource. */
export const qualifiedResource = (kind: Pick<KindDefinition, 'group' | 'plural'>): string =>
  kind.group === '' ? kind.plural : `${kind.plural}.${kind.group}`

const resourceDetails = (kind: Named, name: string): StatusDetails => ({
  name,
  ...(kind.group === '' ? {} : { group: kind.group }),
  kind: kind.plural,
})

export const notFound = (kind: Named, name: string): StatusError =>
  new StatusError(
    404,
    'NotFound',
    `${qualifiedResource(kind)} "${name}" not found`,
    resourceDetails(kind, name),
  )

export const alreadyExists = (kind: Named, name: string): StatusError =>
  new StatusError(
    409,
    'AlreadyExists',
    `${qualifiedResource(kind)} "${name}" already exists`,
    resourceDetails(kind, name),
  )

const modifiedMessage =
  'the object has been modified; please apply your changes to the latest version and try again'

export const conflict = (kind: Named, name: string, why = modifiedMessage): StatusError =>
  new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedResource(kind)} "${name}": ${why}`,
    resourceDetails(kind, name),
  )

export const applyConflict = (message: string, causes: StatusCause[]): StatusError =>
  new StatusError(409, 'Conflict', message, { causes })

const fieldReasonText: Record<FieldError['reason'], string> = {
  FieldValueInvalid: 'Invalid value',
  FieldValueRequired: 'Required value',
  FieldValueNotSupported: 'Unsupported value',
  FieldValueDuplicate: 'Duplicate value',
  FieldValueForbidden: 'Forbidden',
  FieldValueTypeInvalid: 'Invalid value',
}

/** A validator may or may not have put the reason's words in front; the Status always carries them once. */
const fieldErrorMessage = (error: FieldError): string => {
  const known = Object.values(fieldReasonText).some((words) => error.message.startsWith(words))
  if (known) return error.message
  return error.message === ''
    ? fieldReasonText[error.reason]
    : `${fieldReasonText[error.reason]}: ${error.message}`
}

export const invalid = (kind: Named, name: string, errors: readonly FieldError[]): StatusError => {
  const causes = errors.map((error) => ({
    reason: error.reason,
    message: fieldErrorMessage(error),
    field: error.field,
  }))
  const lines = causes.map((cause) => `${cause.field}: ${cause.message}`)
  const list = lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`
  const groupKind = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`
  return new StatusError(422, 'Invalid', `${groupKind} "${name}" is invalid: ${list}`, {
    name,
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes,
  })
}

export const badRequest = (message: string): StatusError => new StatusError(400, 'BadRequest', message)

/** The body does not read as its kind: wrong types, unknown fields under strict validation. */
export class DecodingError extends StatusError {
  /** The reader's complaint alone, for who says himself what was read. */
  readonly why: string

  constructor(kind: Pick<KindDefinition, 'kind' | 'version'>, why: string) {
    const message = `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: ${why}`
    super(400, 'BadRequest', message)
    this.why = why
  }
}

/** A patch is well-formed but what it makes of the object does not read as its kind. `shown` is the patch or what it made. */
export const invalidPatch = (shown: string, why: string): StatusError =>
  invalid({ group: '', plural: '', kind: '' }, '', [
    {
      field: 'patch',
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(shown)}: ${why}`,
    },
  ])

/** As Go prints maps and lists: people know strategic merge patches in refusals by it. */
export const goText = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`
  if (value === null || value === undefined) return '<nil>'
  if (typeof value !== 'object') return String(value)
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[${fields.map(([key, inner]) => `${key}:${goText(inner)}`).join(' ')}]`
}

/** Server-side apply reads a configuration by the schema alone, and has no reason for its refusal. */
export const untypedConfiguration = (
  { group, version, kind }: Pick<KindDefinition, 'group' | 'version' | 'kind'>,
  object: string,
  complaints: readonly string[],
): StatusError => {
  const list = complaints.length === 1 ? complaints[0] : `errors:\n  ${complaints.join('\n  ')}`
  const message = `failed to create typed patch object (${object}; ${group}/${version}, Kind=${kind}): ${list}`
  return new StatusError(500, '', message)
}

export const unauthorized = (): StatusError => new StatusError(401, 'Unauthorized', 'Unauthorized')

export const forbidden = (kind: Named, name: string, why: string, causes?: StatusCause[]): StatusError =>
  new StatusError(403, 'Forbidden', `${qualifiedResource(kind)} "${name}" is forbidden: ${why}`, {
    ...resourceDetails(kind, name),
    ...(causes ? { causes } : {}),
  })

/** Refused by the roles of the user. @param reason what is wrong with them, beside what they lack; may be empty */
export const forbiddenAccess = (userName: string, attributes: Attributes, reason: string): StatusError => {
  const { verb, path, resource } = attributes
  const why = (what: string) => `User "${userName}" cannot ${verb} ${what}${reason && `: ${reason}`}`
  if (resource === undefined)
    return new StatusError(403, 'Forbidden', `forbidden: ${why(`path "${path}"`)}`, {})
  const { group, plural, subresource, namespace, name = '' } = resource
  const what = subresource === undefined ? plural : `${plural}/${subresource}`
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`
  const named = name === '' ? '' : ` "${name}"`
  const text = why(`resource "${what}" in API group "${group}" ${where}`)
  return new StatusError(403, 'Forbidden', `${qualifiedResource(resource)}${named} is forbidden: ${text}`, {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind: plural,
  })
}

export const pageNotFound = (): StatusError =>
  new StatusError(404, 'NotFound', 'the server could not find the requested resource', {})

export const methodNotAllowed = (): StatusError =>
  new StatusError(
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
  )

export const notAcceptable = (accepted: readonly string[]): StatusError =>
  new StatusError(406, 'NotAcceptable', `only the following media types are accepted: ${accepted.join(', ')}`)

export const unsupportedMediaType = (accepted: readonly string[]): StatusError =>
  new StatusError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  )

export const bodyTooLarge = (limitBytes: number): StatusError =>
  new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limitBytes}`)

export const expired = (message: string): StatusError => new StatusError(410, 'Expired', message)

export const compacted = (asked: number, oldest: number): StatusError =>
  expired(`too old resource version: ${asked} (${oldest})`)

/** The client asks for a state newer than any there is: it may be patient and retry. */
export const tooLargeResourceVersion = (asked: number, current: number): StatusError =>
  new StatusError(504, 'Timeout', `Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  })

export const tooManyRequests = (message: string, causes?: StatusCause[]): StatusError =>
  new StatusError(429, 'TooManyRequests', message, causes ? { causes } : {})

export const internalError = (message: string): StatusError =>
  new StatusError(500, 'InternalError', `Internal error occurred: ${message}`)
