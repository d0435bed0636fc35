// Pod egress masquerade: keeps the nftables table as masquerade-rules.ts says it, from nodes, ServiceCIDRs and the configuration; looks
// now and then whether it is still there as it was loaded. Where it is switched off, a table of an earlier configuration goes.

import type { Logger } from 'pino'
import { address, FAMILIES, type Family, familyOf, type Prefix } from '../model/address.ts'
import type { Node, ServiceCidr } from '../model/service.ts'
import { Rounds } from '../reconcile/rounds.ts'
import type { AddressPool } from '../routing/address-pools.ts'
import type { ChangeReader, Table } from '../tables/table.ts'
import type { AgentConfig } from './config.ts'
import {
  MASQUERADE_TABLE,
  type MasqueradeFacts,
  masqueradePorts,
  masqueradeScript,
} from './masquerade-rules.ts'
import { deleteTable, listTable, nft } from './nft.ts'
import { nodeIdentity } from './node-routing.ts'

/** Nodes come in bursts; a new node's pods are masqueraded for this long at most. */
const SETTLE_MS = 200
const RETRY_MIN_MS = 1000
const RETRY_MAX_MS = 30_000
const VERIFY_MS = 10_000

export interface MasqueradeOptions {
  readonly config: Pick<AgentConfig, 'masquerade' | 'routing' | 'pools' | 'nodeName' | 'datapath'>
  /** Those in effect; a new one is inside after VERIFY_MS. */
  readonly pools: () => readonly AddressPool[]
  readonly nodes: Table<Node>
  readonly serviceCidrs: Table<ServiceCidr>
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

export class Masquerade {
  readonly #options: MasqueradeOptions
  readonly #rounds: Rounds
  readonly #readers: readonly ChangeReader[]
  readonly #timer: NodeJS.Timeout
  #script = ''
  /** The table's text as it was after it was loaded. */
  #loaded: string | undefined
  #problem: string | undefined

  /** Start it when nodes and ServiceCIDRs are known: before, everything would be outside. */
  constructor(options: MasqueradeOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      name: 'masquerade',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.#round(),
      onError: (error) => this.#noteProblem(error),
    })
    this.#readers = [options.nodes.reader(), options.serviceCidrs.reader()]
    for (const reader of this.#readers) reader.onChange(() => this.#rounds.request())
    this.#timer = setInterval(() => this.#rounds.request(), VERIFY_MS)
    this.#timer.unref()
    this.#rounds.request()
  }

  get status(): { readonly enabled: boolean; readonly problem: string | undefined } {
    return { enabled: this.#options.config.masquerade.enabled, problem: this.#problem }
  }

  /** The table stays: what is translated goes on being so. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    for (const reader of this.#readers) reader.close()
    await this.#rounds.close()
  }

  async #round(): Promise<void> {
    for (const reader of this.#readers) reader.take()
    if (this.#options.config.masquerade.enabled) await this.#load()
    else if (this.#loaded === undefined) {
      if (await deleteTable(MASQUERADE_TABLE, { isDryRun: false, isExpected: false }))
        this.#options.log.info('pod egress masquerade removed')
      this.#loaded = ''
    }
    this.#problem = undefined
  }

  async #load(): Promise<void> {
    const { log } = this.#options
    const script = masqueradeScript(masqueradeFacts(this.#options))
    if (script === this.#script) {
      if ((await listTable(MASQUERADE_TABLE)) === this.#loaded) return
      log.warn('the nftables table weir was changed by somebody else; putting it back')
    }
    await nft(['-f', '-'], script)
    this.#script = script
    this.#loaded = await listTable(MASQUERADE_TABLE)
    log.info('pod egress masquerade loaded')
  }

  #noteProblem(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error)
    if (text !== this.#problem)
      this.#options.log.error({ err: error }, 'pod egress is not masqueraded; trying again')
    this.#problem = text
  }
}

function masqueradeFacts({ config, pools, nodes, serviceCidrs }: MasqueradeOptions): MasqueradeFacts {
  const { masquerade, nodeName, datapath } = config
  const self = nodes.get(nodeName)
  const identity = nodeIdentity(config, self)
  const loopbacks = identity.loopbacks.map((prefix) => address(prefix.slice(0, prefix.indexOf('/'))))
  const own = (family: Family) =>
    loopbacks.find((candidate) => familyOf(candidate) === family) ?? self?.internalIps[family]
  const all = [...nodes.values()]
  const podCidrs: Prefix[] = [...(identity.podCidrs ?? []), ...(self?.podCidrs ?? [])]
  return {
    families: masquerade.families,
    nodeAddress: Object.fromEntries(FAMILIES.map((family) => [family, own(family)])),
    podCidrs,
    inside: [
      ...podCidrs,
      ...loopbacks,
      ...all.flatMap((node) => [...node.podCidrs, ...node.addresses]),
      ...[...serviceCidrs.values()].flatMap(({ prefixes }) => prefixes),
      ...pools().flatMap(({ prefixes }) => prefixes),
      ...masquerade.except,
    ],
    ports: masqueradePorts(datapath.snatPorts),
  }
}
