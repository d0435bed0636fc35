// Small clusters for the compiler's tests.

import type {
  Policy,
  PolicyDirection,
  PolicyPacket,
  PolicyPeer,
  PolicyPod,
  PolicyRule,
} from '../../../../src/model/policy.ts'
import {
  COMPILER_LIMITS,
  type CompilerLimits,
  type CompilerOptions,
  PolicyCompiler,
} from '../../../../src/policy/compile/compiler.ts'
import { type Decision, PolicyTables } from '../../../../src/policy/compile/decide.ts'
import { policyId, type WorldChange } from '../../../../src/policy/compile/objects.ts'
import type { PolicyChange, PolicyWrite } from '../../../../src/policy/compile/rows.ts'
import * as plain from '../rows.ts'

export function pod(
  name: string,
  address: string,
  labels: Record<string, string>,
  more: Partial<PolicyPod> = {},
): PolicyPod {
  return plain.pod(`shop/${name}`, { labels, addresses: [address], node: 'here', ...more })
}

export const pods = (labels: Record<string, string>): PolicyPeer => plain.pods({ pods: plain.labels(labels) })

export const network = (prefix: string, except: readonly string[] = []): PolicyPeer =>
  plain.networks(prefix, except, 'outside')

export function allow(peers: PolicyRule['peers'], port?: number): PolicyRule {
  return plain.rule({
    path: 'spec.ingress[0]',
    peers,
    ports: port === undefined ? 'any' : [plain.ports('tcp', port)],
  })
}

/** A policy for the ingress of some pods. */
export function policy(
  name: string,
  subject: Record<string, string>,
  rules: readonly PolicyRule[],
  more: Partial<Policy> = {},
): Policy {
  return plain.networkPolicy(
    `shop/${name}`,
    plain.labels(subject),
    {},
    { ingress: { isolates: true, rules }, ...more },
  )
}

export const putPolicies = (...policies: readonly Policy[]): WorldChange => ({
  policies: new Map(policies.map((item) => [policyId(item), item])),
})
export const putPods = (...items: readonly PolicyPod[]): WorldChange => ({
  pods: new Map(items.map((item) => [item.key, item])),
})

export interface BedOptions extends Partial<Omit<CompilerOptions, 'limits'>> {
  readonly limits?: Partial<CompilerLimits>
}

export function bedOptions({ limits, ...options }: BedOptions): CompilerOptions {
  return {
    node: 'here',
    existingConnections: 'recheck',
    labels: { include: [], exclude: [] },
    failSafe: { ingress: [], egress: [] },
    limits: { ...COMPILER_LIMITS, ...limits },
    ...options,
  }
}

/** A compiler for the node 'here', and the tables it fills. */
export class Bed {
  readonly compiler: PolicyCompiler
  readonly tables = new PolicyTables()
  now = 0

  constructor(options: BedOptions = {}) {
    this.compiler = new PolicyCompiler(bedOptions(options))
    this.apply({ nodes: new Map([['here', plain.node('here', { addresses: ['192.0.2.1'] })]]) })
  }

  apply(change: WorldChange): PolicyChange {
    const writes = this.compiler.apply(change, this.now)
    for (const write of writes) this.tables.apply(write)
    return writes
  }

  decide(
    source: string,
    destination: string,
    port = 80,
    more: Partial<PolicyPacket> = {},
    direction: PolicyDirection = 'ingress',
  ): Decision | undefined {
    const packet = plain.packet(source, destination, { port, node: 'here', ...more })
    return this.tables.decide(packet, direction, new Set(['192.0.2.1']))
  }

  identity(address: string): number {
    return this.tables.identityOf(address, false).identity
  }
}

/** How many rows of a table are put or deleted. */
export function rows(change: PolicyChange, table: PolicyWrite['table']): number {
  return change
    .filter((write) => write.table === table)
    .reduce((sum, write) => sum + ('put' in write ? write.put.length : write.delete.length), 0)
}
