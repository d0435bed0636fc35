// Rules every object obeys whatever its kind: names, labels, annotations, what clients may not change in metadata.

import { isRecord } from './json.ts'
import type { FieldError, KindDefinition, KubeObject } from './kind.ts'

const nameLimit = 253
const labelLimit = 63
const annotationsLimitBytes = 256 * 1024
/** Kubernetes appends five characters to generateName, out of letters that spell no words. */
const generatedSuffixLength = 5
const generatedAlphabet = 'bcdfghjklmnpqrstvwxz2456789'

const subdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const labelKeyPattern = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const labelValuePattern = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/

const subdomainMessage =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

export const generateName = (prefix: string, randomBytes: (count: number) => Uint8Array): string => {
  const suffix = [...randomBytes(generatedSuffixLength)]
    .map((byte) => generatedAlphabet[byte % generatedAlphabet.length])
    .join('')
  return `${prefix.slice(0, nameLimit - generatedSuffixLength)}${suffix}`
}

const invalidValue = (field: string, value: unknown, why: string): FieldError => ({
  field,
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
})

/** RBAC names may hold almost anything, other names are DNS subdomains; stricter kinds add their own rule. */
const nameErrors = (kind: KindDefinition, name: string): FieldError[] => {
  if (kind.group === 'rbac.authorization.k8s.io') {
    return /[/%]/.test(name) || name === '.' || name === '..'
      ? [invalidValue('metadata.name', name, "may not contain '/' or '%'")]
      : []
  }
  if (name.length > nameLimit)
    return [invalidValue('metadata.name', name, `must be no more than ${nameLimit} characters`)]
  return subdomainPattern.test(name) ? [] : [invalidValue('metadata.name', name, subdomainMessage)]
}

const isQualifiedName = (key: string): boolean => {
  const slash = key.indexOf('/')
  const prefix = slash < 0 ? undefined : key.slice(0, slash)
  const name = key.slice(slash + 1)
  if (prefix !== undefined && (prefix.length > nameLimit || !subdomainPattern.test(prefix))) return false
  return name.length <= labelLimit && labelKeyPattern.test(name)
}

const qualifiedNameMessage =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

const labelValueMessage =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " +
  "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

const stringMapErrors = (value: unknown, field: string, isLabels: boolean): FieldError[] => {
  if (value === undefined) return []
  if (!isRecord(value))
    return [{ field, reason: 'FieldValueTypeInvalid', message: `Invalid value: must be a map` }]
  const errors: FieldError[] = []
  let bytes = 0
  for (const [key, text] of Object.entries(value)) {
    if (!isQualifiedName(isLabels ? key : key.toLowerCase()))
      errors.push(invalidValue(field, key, qualifiedNameMessage))
    if (typeof text !== 'string')
      errors.push(invalidValue(field, text, `the value of ${key} must be a string`))
    else if (isLabels && (text.length > labelLimit || !labelValuePattern.test(text))) {
      errors.push(
        invalidValue(
          field,
          text,
          text.length > labelLimit ? `must be no more than ${labelLimit} bytes` : labelValueMessage,
        ),
      )
    } else bytes += key.length + text.length
  }
  if (!isLabels && bytes > annotationsLimitBytes) {
    errors.push({
      field,
      reason: 'FieldValueInvalid',
      message: `Too long: may not be more than ${annotationsLimitBytes} bytes`,
    })
  }
  return errors
}

const ownerErrors = (object: KubeObject): FieldError[] => {
  const owners = object.metadata.ownerReferences
  if (owners === undefined) return []
  const errors: FieldError[] = []
  for (const [index, owner] of owners.entries()) {
    for (const field of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (typeof owner[field] === 'string' && owner[field] !== '') continue
      errors.push(
        invalidValue(`metadata.ownerReferences[${index}].${field}`, owner[field] ?? '', 'must not be empty'),
      )
    }
  }
  const controllers = owners.filter((owner) => owner.controller === true)
  if (controllers.length > 1) {
    errors.push(
      invalidValue('metadata.ownerReferences', null, 'Only one reference can have Controller set to true'),
    )
  }
  return errors
}

export const metadataErrors = (kind: KindDefinition, object: KubeObject): FieldError[] => {
  const { metadata } = object
  const name = metadata.name ?? ''
  if (name === '') {
    return [
      {
        field: 'metadata.name',
        reason: 'FieldValueRequired',
        message: 'Required value: name or generateName is required',
      },
    ]
  }
  return [
    ...nameErrors(kind, name),
    ...stringMapErrors(metadata.labels, 'metadata.labels', true),
    ...stringMapErrors(metadata.annotations, 'metadata.annotations', false),
    ...ownerErrors(object),
  ]
}

/** What an update may not do to metadata. */
export const metadataUpdateErrors = (object: KubeObject, previous: KubeObject): FieldError[] => {
  if (previous.metadata.deletionTimestamp === undefined) return []
  const before = new Set(previous.metadata.finalizers ?? [])
  const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer))
  if (added.length === 0) return []
  return [
    {
      field: 'metadata.finalizers',
      reason: 'FieldValueForbidden',
      message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
    },
  ]
}
