// Fields that several sections of the configuration file have: how each is written, and what a wrong one is told.

import { z } from 'zod'
import { addressBits, type Prefix, parseAddress, parsePrefix, prefixParts } from '../model/address.ts'
import { type Community, communitiesOf, describeBadCommunity, parseCommunity } from '../model/communities.ts'
import { toSelector } from '../model/label-selector.ts'
import type { RouteAttributes } from '../model/routing.ts'

export const addressText = z.string().transform((text, context) => {
  const parsed = parseAddress(text)
  if (parsed !== undefined) return parsed
  context.addIssue({ code: 'custom', message: `'${text}' is not an IP address` })
  return z.NEVER
})

export const prefixText = z.string().transform((text, context) => {
  const parsed = parsePrefix(text)
  if (parsed !== undefined) return parsed
  context.addIssue({
    code: 'custom',
    message: `'${text}' is not a prefix like 203.0.113.0/24 (bits behind the length must be zero)`,
  })
  return z.NEVER
})

/** One address, as /32 or /128. */
export const singlePrefixText = prefixText.refine(
  (prefix) => isSingleAddress(prefix),
  'must be a single address: write it as /32 or /128',
)

/** A network that may be announced: never all addresses there are. */
export const networkText = prefixText.refine(
  (prefix) => prefixParts(prefix).length > 0,
  'would allow every address: name the networks that belong to this cluster',
)

function isSingleAddress(prefix: Prefix): boolean {
  const { family, length } = prefixParts(prefix)
  return length === addressBits(family)
}

export const family = z.enum(['ipv4', 'ipv6'])

const ASN_MAX = 4_294_967_294
const AS_TRANS = 23_456

/** RFC 7607 takes 0 away, RFC 6793 the two-byte stand-in. */
export const asn = z
  .number()
  .int()
  .min(1)
  .max(ASN_MAX)
  .refine((number) => number !== AS_TRANS, '23456 stands for AS numbers that do not fit; nobody has it')

export const port = z.number().int().min(1).max(65_535)

/** Kubernetes' own way to write one. */
export const labelSelector = z
  .strictObject({
    matchLabels: z.record(z.string(), z.string()).optional(),
    matchExpressions: z
      .array(
        z
          .strictObject({
            key: z.string().min(1),
            operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
            values: z.array(z.string()).optional(),
          })
          .superRefine(({ operator, values = [] }, context) => {
            const takesValues = operator === 'In' || operator === 'NotIn'
            if (takesValues === values.length > 0) return
            const message = takesValues ? `${operator} needs values` : `${operator} takes none`
            context.addIssue({ code: 'custom', path: ['values'], message })
          }),
      )
      .optional(),
  })
  .transform(toSelector)

const communityText = z.string().transform((text, context): Community => {
  const parsed = parseCommunity(text)
  if (parsed !== undefined) return parsed
  context.addIssue({ code: 'custom', message: `'${text}' ${describeBadCommunity(text)}` })
  return z.NEVER
})

const UINT32_MAX = 0xffff_ffff
/** More than routers are likely to accept; other sources may say up to PREPEND_MAX. */
const PREPEND_SANE_MAX = 32
/** What fits an attribute that routers pass on without complaint; the guard has the same. */
const COMMUNITIES_MAX = 32

export const med = z.number().int().min(0).max(UINT32_MAX)
export const prepend = z.number().int().min(0).max(PREPEND_SANE_MAX)

export const attributes = z
  .strictObject({
    communities: z.array(communityText).max(COMMUNITIES_MAX).default([]),
    localPref: z.number().int().min(0).max(UINT32_MAX).optional(),
    med: med.optional(),
    prepend: prepend.default(0),
  })
  .transform(
    ({ communities, localPref, med, prepend }): RouteAttributes => ({
      ...communitiesOf(communities),
      ...(localPref === undefined ? {} : { localPref }),
      ...(med === undefined ? {} : { med }),
      prepend,
    }),
  )

/**
 * Checks what holds among fields, once each of them is sound: where one is not, its value is still as it was written.
 */
export function together<T>(check: (value: T, context: z.RefinementCtx<T>) => void) {
  return (value: T, context: z.RefinementCtx<T>): void => {
    if (context.issues.length === 0) check(value, context)
  }
}

/** `true` for an object of defaults, `false` for none: errors inside keep their path, which a union would lose. */
export function switchable<T extends z.ZodType>(schema: T) {
  return z.preprocess(
    (value) => (value === true ? {} : value === false ? undefined : value),
    schema.optional(),
  )
}
