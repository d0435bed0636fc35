// `weir bgp router-config`: what the other side of this node's sessions should have, in the words of its system.

import { birdConfig } from '../../bgp/dialects/bird.ts'
import { eosConfig } from '../../bgp/dialects/eos.ts'
import { frrIntegratedConfig } from '../../bgp/dialects/frr.ts'
import { junosConfig } from '../../bgp/dialects/junos.ts'
import type { PrefixRule, RouterModel } from '../../bgp/dialects/model.ts'
import { nxosConfig } from '../../bgp/dialects/nxos.ts'
import { sonicConfig } from '../../bgp/dialects/sonic.ts'
import { fileFacts } from '../agent/router-side-file.ts'
import type { RouterSideFacts } from '../agent/router-side-view.ts'
import { parsePrefix, prefixParts } from '../model/address.ts'
import type { BgpPeer } from '../model/routing.ts'
import type { Action } from './actions.ts'
import { type AgentOptions, askAgent, printAnswer } from './ask-agent.ts'
import { type RouterSideOptions, routerSide, routersOf } from './bgp-router-side.ts'
import { didYouMean, UsageError } from './options.ts'
import { readNamedFile } from './read-file.ts'

export const ROUTER_CONFIG_OPTIONS = {
  dialect: { type: 'string' },
  peer: { type: 'string', multiple: true },
  'listen-range': { type: 'string', multiple: true },
  accept: { type: 'string', multiple: true },
  'node-address': { type: 'string', multiple: true },
  interface: { type: 'string' },
  asn: { type: 'string' },
  config: { type: 'string' },
  node: { type: 'string' },
  label: { type: 'string', multiple: true },
  replace: { type: 'boolean' },
} as const

interface RouterConfigOptions extends AgentOptions {
  readonly dialect?: string | undefined
  readonly peer?: string[] | undefined
  readonly 'listen-range'?: string[] | undefined
  readonly accept?: string[] | undefined
  readonly 'node-address'?: string[] | undefined
  readonly interface?: string | undefined
  readonly asn?: string | undefined
  readonly config?: string | undefined
  readonly node?: string | undefined
  readonly label?: string[] | undefined
  readonly replace?: boolean | undefined
}

const DIALECTS: Readonly<Record<string, (router: RouterModel) => string>> = {
  frr: frrIntegratedConfig,
  bird: birdConfig,
  eos: eosConfig,
  junos: junosConfig,
  nxos: nxosConfig,
  sonic: sonicConfig,
}

export const ROUTER_CONFIG_ACTION: Action<RouterConfigOptions> = {
  takes: '--dialect NAME [--peer NAME]… [--config FILE]',
  words: 0,
  summary: "the matching side of this node's sessions, for its routers",
  about: `The matching side of this node's sessions, for its routers: peers, policy from the guard's
    allow-list, limits.`,
  example: 'weir bgp router-config --dialect frr --peer tor1',
  optionsHelp: `  --dialect NAME   frr, bird (both are tested with the real daemons); eos, junos, nxos, sonic (not run against a device)
  --peer NAME      sessions that are one router, by name or address; may stand several times (default: what must be
                   one router together)
  --listen-range CIDR   take every caller from this network (all nodes) instead of this node's address; may stand
                        several times
  --accept CIDR-LEN     let in networks of this length too, as 10.244.0.0/16-24 for the pods of all nodes; may stand
                        several times
  --node-address PEER=ADDRESS   from where the node calls a peer, where that is not known
  --interface NAME      the router's end of an unnumbered session
  --replace        remove neighbours that the router has already before they are made; ends their sessions (frr, sonic)
  --asn N          the router's AS number, where the node takes any
  --config FILE    from an agent's configuration, without an agent
  --node NAME      which node (with --config; default: nodeName of the file)
  --label KEY=VALUE     of that node; may stand several times
`,
  options: Object.keys(ROUTER_CONFIG_OPTIONS),
  run: runRouterConfig,
}

async function runRouterConfig(values: RouterConfigOptions): Promise<number> {
  const write = dialectOf(values.dialect)
  if (values.config === undefined && (values.node ?? values.label) !== undefined)
    throw new UsageError('the agent knows its own node. Mend: --node and --label go with --config FILE')
  if (values.replace && !REPLACING.includes(values.dialect ?? ''))
    throw new UsageError(`--replace goes with --dialect ${REPLACING.join(' or ')}. Mend: leave it out`)
  const options = readOptions(values)
  const facts = await readFacts(values)
  const routers = chooseRouters(facts.routing.peers, options.peers)
  const isReplacing = values.replace ?? false
  const models = routers.map((peers) => ({ ...routerSide(facts, peers, options), isReplacing }))
  printAnswer(values, models, (shown) => shown.map(write).join('\n'))
  if (models.length > 1)
    process.stderr.write(
      `${models.length} routers, one after another; --peer chooses, and joins sessions of one router.\n`,
    )
  return 0
}

/** Where a neighbour that is there already may be in the way. */
const REPLACING = ['frr', 'sonic']

function dialectOf(name: string | undefined): (router: RouterModel) => string {
  const names = Object.keys(DIALECTS)
  if (name === undefined) throw new UsageError(`which dialect? Mend: --dialect ${names.join('|')}`)
  const write = Object.hasOwn(DIALECTS, name) ? DIALECTS[name] : undefined
  if (write) return write
  throw new UsageError(`no such dialect '${name}'. Mend: ${didYouMean(name, names)}`)
}

function chooseRouters(peers: readonly BgpPeer[], names: readonly string[]): readonly (readonly BgpPeer[])[] {
  if (peers.length === 0)
    throw new UsageError(
      "this node has no peers. Mend: routing.peers, or see 'weir status' for what is not followed",
    )
  if (names.length === 0) return routersOf(peers)
  const namesOf = ({ name, remote }: BgpPeer) => [
    name,
    ...(remote.kind === 'address' ? [remote.address] : []),
  ]
  const known = [...new Set(peers.flatMap(namesOf))]
  for (const name of names)
    if (!known.includes(name))
      throw new UsageError(`no such peer '${name}'. Mend: ${didYouMean(name, known)}`)
  return [peers.filter((peer) => namesOf(peer).some((name) => names.includes(name)))]
}

async function readFacts(values: RouterConfigOptions): Promise<RouterSideFacts> {
  const facts =
    values.config === undefined
      ? await askAgent<RouterSideFacts>(values, '/v1/bgp/router-side')
      : fileFacts(readNamedFile(values.config), values.config, values.node, pairs(values.label, '--label'))
  return {
    ...facts,
    reachedFrom: { ...facts.reachedFrom, ...pairs(values['node-address'], '--node-address') },
  }
}

function pairs(texts: readonly string[] = [], option: string): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? []
      if (key === undefined || value === undefined)
        throw new UsageError(`'${text}' is no pair. Mend: ${option} KEY=VALUE`)
      return [key, value]
    }),
  )
}

function readOptions(values: RouterConfigOptions): RouterSideOptions {
  return {
    peers: values.peer ?? [],
    listenRanges: (values['listen-range'] ?? []).map((text) => {
      const prefix = parsePrefix(text)
      if (prefix !== undefined) return prefix
      throw new UsageError(`--listen-range ${text} is no network. Mend: as 10.254.1.0/24`)
    }),
    accept: (values.accept ?? []).map(readRule),
    ...(values.interface === undefined ? {} : { interface: values.interface }),
    ...(values.asn === undefined ? {} : { asn: readAsn(values.asn) }),
  }
}

function readRule(text: string): PrefixRule {
  const [, network = '', exact] = /^(.+\/\d+)(?:-(\d+))?$/.exec(text) ?? []
  const prefix = parsePrefix(network)
  if (prefix !== undefined) {
    const { length, family } = prefixParts(prefix)
    const wanted = exact === undefined ? length : Number(exact)
    if (length > 0 && wanted >= length && wanted <= (family === 'ipv4' ? 32 : 128))
      return { prefix, lengthMin: wanted, lengthMax: wanted }
  }
  throw new UsageError(`--accept ${text} names no networks. Mend: as 10.244.0.0/16-24, the /24s in there`)
}

function readAsn(text: string): number {
  const asn = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (asn >= 1 && asn <= 4_294_967_294) return asn
  throw new UsageError(`--asn ${text} is no AS number. Mend: from 1 to 4294967294`)
}
