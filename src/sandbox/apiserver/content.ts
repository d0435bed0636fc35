// Content negotiation: what the client accepts, what it sent. The server speaks JSON and reads YAML and, for built-in kinds, protobuf
// (protobuf.ts). A client that accepts nothing but protobuf or CBOR gets 406.

import { badRequest, notAcceptable, unsupportedMediaType } from './errors.ts'
import { decodeProtobuf, protobufType } from './protobuf.ts'

export const answerTypes = ['application/json', 'application/yaml'] as const
export const bodyTypes = [...answerTypes, protobufType] as const

export const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/apply-patch+yaml',
  'application/strategic-merge-patch+json',
] as const

export type PatchType = (typeof patchTypes)[number]

export interface MediaType {
  type: string
  parameters: Record<string, string>
}

export const parseMediaType = (text: string): MediaType => {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim())
  const parameters: Record<string, string> = {}
  for (const parameter of rest) {
    const equals = parameter.indexOf('=')
    if (equals > 0) parameters[parameter.slice(0, equals)] = parameter.slice(equals + 1).replace(/^"|"$/g, '')
  }
  return { type: type.toLowerCase(), parameters }
}

export type Shape = 'Object' | 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList'

export interface Accepted {
  type: 'application/json' | 'application/yaml'
  shape: Shape
  /** meta.k8s.io version of the Table or metadata conversion. */
  shapeVersion: string
}

const shapes = new Set<string>(['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList'])
const jsonLike = new Set(['application/json', '*/*', 'application/*'])

const acceptOne = (media: MediaType): Accepted | undefined => {
  const isYaml = media.type === 'application/yaml'
  if (!jsonLike.has(media.type) && !isYaml) return undefined
  const type = isYaml ? 'application/yaml' : 'application/json'
  const as = media.parameters['as']
  if (as === undefined) return { type, shape: 'Object', shapeVersion: '' }
  const version = media.parameters['v'] ?? 'v1'
  if (!shapes.has(as) || media.parameters['g'] !== 'meta.k8s.io' || !/^v1(beta1)?$/.test(version))
    return undefined
  return { type, shape: as as Shape, shapeVersion: version }
}

/** The first acceptable entry in the client's order (which kubectl writes by preference, without q values). */
export const negotiate = (accept: string | undefined): Accepted => {
  if (accept === undefined || accept.trim() === '')
    return { type: 'application/json', shape: 'Object', shapeVersion: '' }
  for (const entry of accept.split(',')) {
    const accepted = acceptOne(parseMediaType(entry))
    if (accepted) return accepted
  }
  throw notAcceptable(answerTypes)
}

/** Parses a JSON or YAML body; an absent content type means JSON, as for the real server. */
export const decodeBody = async (body: Buffer, contentType: string | undefined): Promise<unknown> => {
  const { type } = parseMediaType(contentType ?? 'application/json')
  if (type === 'application/yaml' || type === 'application/apply-patch+yaml')
    return parseYaml(body.toString('utf8'))
  if (type === 'application/json' || type.endsWith('+json') || type === '*/*')
    return parseJson(body.toString('utf8'))
  if (type === protobufType) return decodeProtobuf(body)
  throw unsupportedMediaType(bodyTypes)
}

export const patchTypeOf = (contentType: string | undefined): PatchType => {
  const { type } = parseMediaType(contentType ?? '')
  const known = patchTypes.find((candidate) => candidate === type)
  if (!known) throw unsupportedMediaType(patchTypes)
  return known
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw badRequest(`unable to parse JSON body: ${(error as Error).message}`)
  }
}

/** YAML is rare on this path (apply patches of kubectl are JSON under a YAML type), so its parser loads on first use. */
const parseYaml = async (text: string): Promise<unknown> => {
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text)
    } catch {
      // flow-style YAML also begins with a brace
    }
  }
  const { parse } = await import('yaml')
  try {
    return parse(text, { uniqueKeys: true })
  } catch (error) {
    throw badRequest(`error decoding YAML: ${(error as Error).message}`)
  }
}
