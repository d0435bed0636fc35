// Two ToR routers as a rack has them, FRR and BIRD, each in a namespace of its own with one link to the node: configured by the dialects
// that `weir bgp router-config` prints, but for limits that let 20 000 prefixes in.

import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { birdConfig } from '../../bgp/dialects/bird.ts'
import { frrBgpConfig, frrZebraConfig } from '../../bgp/dialects/frr.ts'
import type { RouterModel } from '../../bgp/dialects/model.ts'
import { frrCommand, frrOwner, isFrrReady } from '../../src/sandbox/frr.ts'

export const NODE_ASN = 65_101
const PREFIXES_MAX = 20_000
const PATHS_MAX = 64
const READY_MS = 10_000

export interface Tor {
  readonly name: 'FRR' | 'BIRD'
  readonly namespace: string
  /** Of the node, towards it. */
  readonly device: string
  readonly asn: number
  readonly address: string
  readonly nodeAddress: string
}

export const torsOf = (prefix: string): readonly Tor[] =>
  (['FRR', 'BIRD'] as const).map((name, index) => ({
    name,
    namespace: `${prefix}${name.toLowerCase()}`,
    device: `to-tor${index + 1}`,
    asn: 65_001 + index,
    address: `10.95.${index + 1}.0`,
    nodeAddress: `10.95.${index + 1}.1`,
  }))

/** Starts a program in a namespace; whoever gave it ends it. */
export type Start = (namespace: string, argv: readonly string[]) => void

export async function startTor(
  tor: Tor,
  accepted: readonly string[],
  directory: string,
  start: Start,
): Promise<void> {
  mkdirSync(directory, { recursive: true })
  if (tor.name === 'BIRD') await startBird(tor, modelOf(tor, accepted), directory, start)
  else await startFrr(tor, modelOf(tor, accepted), directory, start)
}

function modelOf(tor: Tor, accepted: readonly string[]): RouterModel {
  const rule = (prefix: string) => ({ prefix, lengthMin: 24, lengthMax: 32 })
  return {
    name: tor.name.toLowerCase(),
    asn: tor.asn,
    routerId: tor.address,
    ecmpPathsMax: PATHS_MAX,
    ownPrefixes: [],
    groups: [
      {
        name: 'nodes',
        peers: [{ name: 'node', asn: NODE_ASN, address: tor.nodeAddress, localAddress: tor.address }],
        accept: accepted.map(rule),
        announce: [],
        prefixesMax: PREFIXES_MAX,
        passive: true,
      },
    ],
  }
}

async function startBird(
  { namespace }: Tor,
  model: RouterModel,
  directory: string,
  start: Start,
): Promise<void> {
  writeFileSync(`${directory}/bird.conf`, birdConfig(model))
  start(namespace, ['/usr/sbin/bird', '-f', '-c', `${directory}/bird.conf`, '-s', `${directory}/bird.ctl`])
  await until('BIRD answers', () => existsSync(`${directory}/bird.ctl`))
}

/** Its daemons give up root for the user frr, so their files lie in a directory of that user. */
async function startFrr(
  { namespace }: Tor,
  model: RouterModel,
  directory: string,
  start: Start,
): Promise<void> {
  const { uid, gid } = frrOwner()
  const own = (path: string) => chownSync(path, uid, gid)
  own(directory)
  const configs = { zebra: frrZebraConfig(model), bgpd: frrBgpConfig(model) }
  for (const daemon of ['zebra', 'bgpd'] as const) {
    const config = `${directory}/${daemon}.conf`
    writeFileSync(config, configs[daemon])
    own(config)
    start(namespace, frrCommand(daemon, directory))
    await until(`${daemon} answers`, () => isFrrReady(daemon, directory))
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + READY_MS
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`not so after ${READY_MS} ms: ${what}; did the daemon start?`)
    await sleep(20)
  }
}
