// kube-router's external peers: the YAML list of annotation `peers`, or the comma lists it replaced.

import { parse as parseYaml } from 'yaml'
import { familyOf, parseAddress } from '../../model/address.ts'
import { isRecord } from '../../model/is-record.ts'
import { nearMatches } from '../../model/near-matches.ts'
import type { BgpPeer } from '../../model/routing.ts'
import { type KubeRouterReader, type KubeRouterSettings, parseAsn, sourceOf } from './kube-router-reader.ts'

/** As the list names its fields; values as text. */
interface PeerEntry {
  readonly source: string
  readonly remoteip: string
  readonly remoteasn: string
  readonly port?: string
  readonly password?: string
  readonly localip?: string
  readonly bfd?: Readonly<Record<string, unknown>>
}

const FIELDS = ['remoteip', 'remoteasn', 'localip', 'password', 'port', 'bfd']
const BFD_FIELDS = [
  'enabled',
  'port',
  'detection_multiplier',
  'required_min_rx_interval',
  'desired_min_tx_interval',
]
const PORT_MAX = 65_535
const BGP_PORT = 179
const BFD_PORT = 3784

export function externalPeers(reader: KubeRouterReader, settings: KubeRouterSettings): BgpPeer[] {
  const entries = reader.text('peers') === undefined ? readLists(reader) : readYaml(reader)
  if (reader.text('peers') !== undefined && reader.text('peer.ips') !== undefined)
    reader.refuse('peer.ips', 'is not read beside kube-router.io/peers')
  return entries.flatMap((entry) => toPeer(entry, reader, settings) ?? [])
}

type Refuse = (why: string) => undefined

function refuser(reader: KubeRouterReader, source: string): Refuse {
  return (why) => {
    reader.problems.push({ source, why })
    return undefined
  }
}

function readYaml(reader: KubeRouterReader): PeerEntry[] {
  let list: unknown
  try {
    list = parseYaml(reader.text('peers') ?? '', { logLevel: 'error' })
  } catch {
    reader.refuse('peers', 'is not valid YAML')
    return []
  }
  if (!Array.isArray(list)) {
    reader.refuse('peers', 'is no list of peers')
    return []
  }
  return list.flatMap((item: unknown, index) => {
    const source = `${sourceOf('peers')}[${index}]`
    const refuse = refuser(reader, source)
    if (!isRecord(item)) return refuse('is no peer') ?? []
    refuseUnknown(item, FIELDS, refuse)
    const text = (key: string) =>
      item[key] === undefined || item[key] === null ? '' : String(item[key]).trim()
    const optional = (key: 'port' | 'password' | 'localip') => (text(key) === '' ? {} : { [key]: text(key) })
    const bfd = isRecord(item['bfd']) ? { bfd: item['bfd'] } : {}
    return [
      {
        source,
        remoteip: text('remoteip'),
        remoteasn: text('remoteasn'),
        ...optional('port'),
        ...optional('password'),
        ...optional('localip'),
        ...bfd,
      },
    ]
  })
}

function refuseUnknown(
  item: Readonly<Record<string, unknown>>,
  known: readonly string[],
  refuse: Refuse,
): void {
  for (const key of Object.keys(item)) {
    if (known.includes(key)) continue
    const near = nearMatches(key, known, 1)[0]
    refuse(`unknown key '${key}'${near === undefined ? '' : ` (did you mean '${near}'?)`}`)
  }
}

/** Lists of the same length; an empty element has the default. */
function readLists(reader: KubeRouterReader): PeerEntry[] {
  const ips = reader.list('peer.ips')
  const others = {
    remoteasn: reader.list('peer.asns'),
    port: reader.list('peer.ports'),
    password: reader.list('peer.passwords'),
    localip: reader.list('peer.localips'),
  }
  if (ips.length === 0 && others.remoteasn.length > 0) reader.refuse('peer.ips', 'is needed beside peer.asns')
  for (const [name, list] of [
    ['peer.asns', others.remoteasn],
    ['peer.ports', others.port],
    ['peer.passwords', others.password],
    ['peer.localips', others.localip],
  ] as const) {
    const isNeeded = name === 'peer.asns' && ips.length > 0
    if (list.length === ips.length || (list.length === 0 && !isNeeded)) continue
    reader.refuse(name, `has ${list.length} elements where peer.ips has ${ips.length}; no peer is taken`)
    return []
  }
  return ips.map((remoteip, index) => {
    const at = (key: keyof typeof others) => others[key][index] ?? ''
    const optional = (key: 'port' | 'password' | 'localip') => (at(key) === '' ? {} : { [key]: at(key) })
    return {
      source: `${sourceOf('peer.ips')}[${index}]`,
      remoteip,
      remoteasn: at('remoteasn'),
      ...optional('port'),
      ...optional('password'),
      ...optional('localip'),
    }
  })
}

function toPeer(
  entry: PeerEntry,
  reader: KubeRouterReader,
  settings: KubeRouterSettings,
): BgpPeer | undefined {
  const refuse = refuser(reader, entry.source)
  const address = parseAddress(entry.remoteip)
  if (address === undefined) return refuse(`remoteip '${entry.remoteip}' is not an IP address`)
  const asn = parseAsn(entry.remoteasn)
  if (asn === undefined) return refuse(`remoteasn '${entry.remoteasn}' is no AS number`)
  const port = entry.port === undefined ? BGP_PORT : Number(entry.port)
  if (!(Number.isInteger(port) && port >= 1 && port <= PORT_MAX))
    return refuse(`port '${entry.port}' is no port`)
  const localAddress = entry.localip === undefined ? undefined : parseAddress(entry.localip)
  if (entry.localip !== undefined && localAddress === undefined)
    return refuse(`localip '${entry.localip}' is not an IP address`)
  if (localAddress !== undefined && familyOf(localAddress) !== familyOf(address))
    return refuse(`localip '${entry.localip}' is of another family than ${address}`)
  const password = entry.password === undefined ? undefined : decodePassword(entry.password)
  // Without it the router would refuse us, and with a wrong one say nothing.
  if (entry.password !== undefined && password === undefined) return refuse('password is not base64')
  const { holdSeconds, multihopTtl } = settings
  const bfd = entry.bfd === undefined ? undefined : readBfd(entry.bfd, refuse)
  return {
    name: `kube-router/${address}`,
    source: entry.source,
    remote: { kind: 'address', address },
    asn,
    port,
    ...(localAddress === undefined ? {} : { localAddress }),
    families: [familyOf(address)],
    ...(password === undefined ? {} : { password: { kind: 'inline', text: password } }),
    timers: {
      holdSeconds,
      keepaliveSeconds: Math.max(1, Math.floor(holdSeconds / 3)),
      connectRetrySeconds: 5,
    },
    ...(multihopTtl === undefined ? {} : { multihopTtl }),
    gracefulRestart: { restartSeconds: settings.gracefulRestartSeconds },
    ...(bfd === undefined ? {} : { bfd }),
  }
}

function decodePassword(text: string): string | undefined {
  // A single letter is no byte yet, whatever pads it.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) return undefined
  return Buffer.from(text, 'base64').toString()
}

const BFD_INTERVAL_DEFAULT_MS = 1000

/** Intervals in milliseconds. One interval serves both ways: the slower of the two. */
function readBfd(bfd: Readonly<Record<string, unknown>>, refuse: Refuse): BgpPeer['bfd'] {
  refuseUnknown(bfd, BFD_FIELDS, refuse)
  if (bfd['enabled'] !== true) return undefined
  const number = (key: string, fallback: number, most: number): number => {
    const value = bfd[key] ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most) return value
    refuse(`bfd.${key} '${String(value)}' is no number from 1 to ${most}; ${fallback} is taken`)
    return fallback
  }
  if (number('port', BFD_PORT, PORT_MAX) !== BFD_PORT) refuse(`bfd.port can only be ${BFD_PORT} (RFC 5881)`)
  return {
    intervalMs: Math.max(
      number('required_min_rx_interval', BFD_INTERVAL_DEFAULT_MS, 60_000),
      number('desired_min_tx_interval', BFD_INTERVAL_DEFAULT_MS, 60_000),
    ),
    multiplier: number('detection_multiplier', 3, 255),
  }
}
