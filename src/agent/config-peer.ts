// One peer in the configuration file. What no router could take, or what would look right and lead nowhere, is refused here.

import { z } from 'zod'
import { FAMILIES, type Family, familyOf, prefixParts } from '../model/address.ts'
import type { FileImport, FilePeer } from '../routing/sources/file.ts'
import {
  addressText,
  asn,
  attributes,
  family,
  labelSelector,
  port,
  prefixText,
  switchable,
  together,
} from './config-fields.ts'

const BGP_PORT = 179
const HOLD_MIN_SECONDS = 3
const HOLD_DEFAULT_SECONDS = 9
const CONNECT_RETRY_DEFAULT_SECONDS = 5
/** How long routers keep our routes while gobgpd is away: several times what the agent needs to boot and replay. */
const RESTART_DEFAULT_SECONDS = 60
/** Twelve bits of the capability. */
const RESTART_MAX_SECONDS = 4095
/** Twenty-four bits. */
const LONG_LIVED_MAX_SECONDS = 0xff_ffff
const TTL_MAX = 255
const IMPORTS_DEFAULT_MAX = 1000
const IMPORTS_MAX = 1_000_000

const peerAsn = z.union([asn, z.literal('external'), z.literal('internal')], {
  error: "is neither an AS number nor 'external' nor 'internal'",
})

const secretName = z.string().regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'is no name of an object')

/** Told to a password in clear, too, which must not be said again where a log keeps it. */
const ofPlace = (message: string) => ({
  error: ({ code }: { readonly code?: string }) => (code === 'invalid_type' ? message : undefined),
})

const password = z
  .strictObject(
    {
      file: z.string().startsWith('/', 'is no absolute path, as /run/secrets/tor1').optional(),
      secret: z
        .strictObject(
          {
            namespace: secretName.default('kube-system'),
            name: secretName,
            key: z.string().min(1).default('password'),
          },
          ofPlace('names a Secret: write secret: { name: tor-password }'),
        )
        .optional(),
    },
    ofPlace(
      'says where the password lies, and is never the password itself: ' +
        'write password: { file: /run/secrets/tor1 }, or password: { secret: { name: tor-password } }',
    ),
  )
  .transform(({ file, secret }, context) => {
    if (file !== undefined && secret === undefined) return { kind: 'file' as const, path: file }
    if (secret !== undefined && file === undefined) return { kind: 'secret' as const, ...secret }
    context.addIssue({ code: 'custom', message: 'needs file or secret, and not both' })
    return z.NEVER
  })

const timers = z
  .strictObject({
    holdSeconds: z.number().int().min(HOLD_MIN_SECONDS).max(65_535).default(HOLD_DEFAULT_SECONDS),
    keepaliveSeconds: z.number().int().min(1).max(21_845).optional(),
    connectRetrySeconds: z.number().int().min(1).max(65_535).default(CONNECT_RETRY_DEFAULT_SECONDS),
  })
  .transform(({ keepaliveSeconds, ...rest }) => ({
    ...rest,
    keepaliveSeconds: keepaliveSeconds ?? Math.floor(rest.holdSeconds / 3),
  }))
  .refine(({ holdSeconds, keepaliveSeconds }) => keepaliveSeconds * 3 <= holdSeconds, {
    path: ['keepaliveSeconds'],
    message: 'must fit three times into holdSeconds, or one lost packet ends the session',
  })

const gracefulRestart = z
  .strictObject({
    restartSeconds: z.number().int().min(1).max(RESTART_MAX_SECONDS).default(RESTART_DEFAULT_SECONDS),
    longLivedSeconds: z.number().int().min(1).max(LONG_LIVED_MAX_SECONDS).optional(),
  })
  .transform(({ restartSeconds, longLivedSeconds }) => ({
    restartSeconds,
    ...(longLivedSeconds === undefined ? {} : { longLivedSeconds }),
  }))

/** Three times 300 ms are 900, and routers need up to 100 more to act on it: a dead link would not be left within a second. */
const BFD_INTERVAL_DEFAULT_MS = 250

const bfd = z.strictObject({
  intervalMs: z.number().int().min(10).max(60_000).default(BFD_INTERVAL_DEFAULT_MS),
  multiplier: z.number().int().min(2).max(255).default(3),
})

const importRow = z
  .strictObject({
    prefix: prefixText,
    lengthMin: z.number().int().min(0).max(128).optional(),
    lengthMax: z.number().int().min(0).max(128).optional(),
  })
  .transform(({ prefix, lengthMin, lengthMax }, context): FileImport => {
    const { family, length, bits } = { ...prefixParts(prefix), bits: familyOf(prefix) === 'ipv4' ? 32 : 128 }
    const least = lengthMin ?? length
    const most = lengthMax ?? Math.max(least, length)
    const isSound = least >= length && least <= most && most <= bits
    if (isSound) return { prefix, family, lengthMin: least, lengthMax: most }
    context.addIssue({
      code: 'custom',
      message: `lengths ${least} to ${most} are not between ${length} and ${bits}, the longest of ${prefix}`,
    })
    return z.NEVER
  })

const imports = z.strictObject({
  prefixes: z
    .array(z.preprocess((value) => (typeof value === 'string' ? { prefix: value } : value), importRow))
    .min(1),
  maxPrefixes: z.number().int().min(1).max(IMPORTS_MAX).default(IMPORTS_DEFAULT_MAX),
})

const reflectorClient = z.strictObject({ clusterId: addressText.optional() })

const peerFields = z.strictObject({
  name: z.string().min(1).max(63).optional(),
  nodeSelector: labelSelector.optional(),
  address: addressText.optional(),
  interface: z.string().min(1).max(15).optional(),
  /** A session with each other node that matches. */
  nodes: labelSelector.optional(),
  asn: peerAsn,
  localAsn: asn.optional(),
  port: port.default(BGP_PORT),
  localAddress: addressText.optional(),
  family: family.optional(),
  families: z.array(family).min(1).optional(),
  password: password.optional(),
  timers: timers.prefault({}),
  multihopTtl: z.number().int().min(2).max(TTL_MAX).optional(),
  /** How many hops away the peer may be, at most; `true`: on the link. */
  ttlSecurity: z
    .union(
      [
        z.boolean(),
        z
          .number()
          .int()
          .min(1)
          .max(TTL_MAX - 1),
      ],
      {
        error: 'is neither true nor a number of hops (1 to 254)',
      },
    )
    .default(false),
  gracefulRestart: switchable(gracefulRestart).prefault({}),
  bfd: switchable(bfd),
  reflectorClient: switchable(reflectorClient),
  imports: imports.optional(),
  attributes: attributes.optional(),
})

type PeerFields = z.infer<typeof peerFields>

/** What is wrong with it: key, and why. */
function faultsOf(peer: PeerFields): readonly (readonly [keyof PeerFields, string])[] {
  const { address, interface: device, nodes, localAddress } = peer
  const faults: [keyof PeerFields, string][] = []
  const named = [address, device, nodes].filter((one) => one !== undefined).length
  if (named !== 1) faults.push(['address', 'a peer has exactly one of address, interface and nodes'])
  if (peer.family !== undefined && peer.families !== undefined)
    faults.push(['family', 'say families alone, which holds one or both'])
  if (address !== undefined) faults.push(...addressFaults(address, peer))
  if (device !== undefined && localAddress !== undefined)
    faults.push(['localAddress', 'an unnumbered session has the link-local address of its interface'])
  if (nodes !== undefined && localAddress !== undefined)
    faults.push(['localAddress', "sessions between nodes have the nodes' own addresses"])
  if (peer.multihopTtl !== undefined && peer.ttlSecurity !== false)
    faults.push(['ttlSecurity', 'cannot stand beside multihopTtl: say how many hops ttlSecurity may count'])
  if (peer.asn === 'internal' && peer.multihopTtl !== undefined)
    faults.push(['multihopTtl', 'is for external sessions; internal ones may be any number of hops away'])
  if (peer.asn === 'external' && peer.reflectorClient !== undefined)
    faults.push(['reflectorClient', 'routes are reflected to internal peers alone (RFC 4456)'])
  if (peer.asn === 'internal' && peer.localAsn !== undefined)
    faults.push(['localAsn', "an internal session has this node's own AS number"])
  if (device !== undefined && peer.multihopTtl !== undefined)
    faults.push(['multihopTtl', 'an unnumbered neighbour is on the link'])
  return faults
}

function addressFaults(
  address: NonNullable<PeerFields['address']>,
  peer: PeerFields,
): [keyof PeerFields, string][] {
  const own = familyOf(address)
  const faults: [keyof PeerFields, string][] = []
  if (peer.family !== undefined && peer.family !== own)
    faults.push(['family', `is ${peer.family}, but ${address} is not; each session carries its own family`])
  if (own === 'ipv4' && peer.families?.includes('ipv6'))
    faults.push([
      'families',
      `ipv6 has no usable next hop in a session with ${address}: give it a session of its own, with the router's IPv6 address`,
    ])
  if (/^(0\.0\.0\.0|::|2(2[4-9]|3\d)\..*|ff[0-9a-f]{2}:.*)$/.test(address))
    faults.push(['address', `${address} is no address that a router can have`])
  if (/^fe[89ab][0-9a-f]:/.test(address))
    faults.push(['address', `${address} is link-local: name the interface instead, as interface`])
  if (peer.localAddress !== undefined && familyOf(peer.localAddress) !== own)
    faults.push(['localAddress', `is of another family than ${address}`])
  if (peer.localAddress === address) faults.push(['localAddress', "is the peer's own address"])
  return faults
}

function familiesOf({ address, family, families }: PeerFields): readonly Family[] {
  if (families !== undefined) return FAMILIES.filter((one) => families.includes(one))
  if (family !== undefined) return [family]
  return address === undefined ? FAMILIES : [familyOf(address)]
}

export const peerSchema = peerFields
  .superRefine(
    together((peer: PeerFields, context) => {
      for (const [key, message] of faultsOf(peer)) context.addIssue({ code: 'custom', path: [key], message })
    }),
  )
  .transform((peer): FilePeer => {
    const { family: _, ttlSecurity, name, ...rest } = peer
    const hops = ttlSecurity === true ? 1 : ttlSecurity
    return {
      ...rest,
      name: name ?? peer.address ?? peer.interface ?? 'nodes',
      families: familiesOf(peer),
      ttlSecurityMin: hops === false ? undefined : TTL_MAX + 1 - hops,
    }
  })
