// Small clusters for the compiler's tests.

import type { Prefix } from '../../../../src/model/address.ts'
import type { LabelSelector } from '../../../../src/model/label-selector.ts'
import {
  NAMESPACE_NAME_LABEL,
  type Policy,
  type PolicyDirection,
  type PolicyPacket,
  type PolicyPeer,
  type PolicyPod,
  type PolicyRule,
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

export const EVERYTHING: LabelSelector = { requirements: [] }

export function equals(labels: Readonly<Record<string, string>>): LabelSelector {
  return {
    requirements: Object.entries(labels).map(([key, value]) => ({ key, operator: 'In', values: [value] })),
  }
}

export function pod(
  name: string,
  address: string,
  labels: Record<string, string>,
  more: Partial<PolicyPod> = {},
): PolicyPod {
  return {
    key: `shop/${name}`,
    namespace: 'shop',
    labels,
    serviceAccount: 'default',
    addresses: [address],
    node: 'here',
    isHostNetwork: false,
    isFinished: false,
    namedPorts: [],
    ...more,
  }
}

export const pods = (labels: Record<string, string>): PolicyPeer => ({
  kind: 'pods',
  namespaces: EVERYTHING,
  pods: equals(labels),
})

export const network = (prefix: string, except: readonly string[] = []): PolicyPeer => ({
  kind: 'networks',
  prefix: prefix as Prefix,
  except: except as readonly Prefix[],
  covers: 'outside',
})

export function allow(peers: PolicyRule['peers'], port?: number): PolicyRule {
  const ports =
    port === undefined
      ? 'any'
      : [{ kind: 'ports' as const, protocol: 'tcp' as const, first: port, last: port }]
  return { action: 'allow', path: 'spec.ingress[0]', peers, ports }
}

/** A policy for the ingress of some pods. */
export function policy(
  name: string,
  subject: Record<string, string>,
  rules: readonly PolicyRule[],
  more: Partial<Policy> = {},
): Policy {
  return {
    kind: 'NetworkPolicy',
    key: `shop/${name}`,
    part: 0,
    uid: name,
    tier: 'normal',
    priority: 0,
    subject: { kind: 'pods', namespaces: equals({ [NAMESPACE_NAME_LABEL]: 'shop' }), pods: equals(subject) },
    ingress: { isolates: true, rules },
    egress: undefined,
    isAudit: false,
    existingConnections: undefined,
    faults: [],
    ...more,
  }
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
    this.apply({ nodes: new Map([['here', { name: 'here', labels: {}, addresses: ['192.0.2.1'] }]]) })
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
    const packet: PolicyPacket = {
      source,
      destination,
      protocol: 'tcp',
      port,
      node: 'here',
      isMasqueraded: false,
      isHairpin: false,
      ...more,
    }
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
