// The OpenAPI v2 document as protobuf (gnostic's openapi.v2.Document), as small as kubectl lets it be: for each kind a PATCH with the
// fieldValidation parameter. kubectl asks for it when it meets `kind: List`, which no v3 document names, and then lets the server
// validate the items. Field numbers are those of gnostic's OpenAPIv2.proto.

import type { KindDefinition } from './kind.ts'
import { pathOfGroupVersion } from './request.ts'

export const openApiV2Type = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'

type Part = Buffer | string

const MORE = 0x80
const LENGTH_DELIMITED = 2

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest >= MORE) {
    bytes.push((rest & (MORE - 1)) | MORE)
    rest >>>= 7
  }
  return Buffer.from([...bytes, rest])
}

/** A string or an embedded message under a number. */
function field(number: number, ...parts: readonly Part[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
  return Buffer.concat([varint((number << 3) | LENGTH_DELIMITED), varint(body.length), body])
}

/** parameter → non-body parameter → query parameter: in, name, type. */
const FIELD_VALIDATION = field(
  8,
  field(1, field(2, field(3, field(2, 'query'), field(4, 'fieldValidation'), field(6, 'string')))),
)

function patchOf({ group, kind, version }: KindDefinition): Buffer {
  const yaml = `group: ${JSON.stringify(group)}\nkind: ${kind}\nversion: ${version}\n`
  return field(
    8,
    FIELD_VALIDATION,
    field(13, field(1, 'x-kubernetes-group-version-kind'), field(2, field(2, yaml))),
  )
}

function pathItem(kind: KindDefinition): Buffer {
  const scope = kind.namespaced ? '/namespaces/{namespace}' : ''
  const path = `${pathOfGroupVersion(kind.group, kind.version)}${scope}/${kind.plural}/{name}`
  return field(2, field(1, path), field(2, patchOf(kind)))
}

export function openApiV2(kinds: readonly KindDefinition[], title: string): Buffer {
  return Buffer.concat([
    field(1, '2.0'),
    field(2, field(1, title), field(2, 'v0')),
    field(8, ...kinds.map(pathItem)),
  ])
}
