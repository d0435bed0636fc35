// The tables of policy (bpf/abi/policy.h): compiled rows on one side, the kernel's bytes on the other.

import { type Address, type Prefix, parseAddress } from '../model/address.ts'
import type { PolicyDirection } from '../model/policy.ts'
import {
  type CellId,
  CLASS_PROTOCOLS,
  type ClassId,
  type IdentityId,
  type PeerKey,
  type PortInterval,
  SCOPES,
  type Scope,
  type SetId,
} from '../policy/compile/rows.ts'
import type { BpfMap } from '../sys/libbpf-ts/map.ts'
import * as abi from './abi.gen.ts'
import type { CanGet, KernelArray, KernelHash, LosesMany, TakesMany } from './kernel-tables.ts'
import type { Codec } from './map-codecs.ts'

export interface IdentityValue {
  readonly number: IdentityId
  readonly scope: Scope
}

export interface PolicySubjectValue {
  readonly set: SetId
  /** Where a Service leads it to itself. */
  readonly hairpin: Readonly<Record<PolicyDirection, ClassId>>
}

/** Classes of the peers without a row, by `SCOPES`. */
type Defaults = readonly [ClassId, ClassId, ClassId]

export interface PolicySetValue {
  /** Of what it says; 0 is never current. */
  readonly generation: number
  readonly isOpen: Readonly<Record<PolicyDirection, boolean>>
  readonly isAudited: Readonly<Record<PolicyDirection, boolean>>
  /** Some of its rows found no room: what is not open is closed. */
  readonly isLocked: boolean
  readonly defaults: Readonly<Record<PolicyDirection, Defaults>>
}

export interface PolicyClassValue {
  /** The verdict whatever the port; else the ports' rows tell. */
  readonly uniform: PortInterval | undefined
  readonly base: number
  /** Per protocol where its rows begin, counted from `base`, and at last where they end. */
  readonly starts: readonly number[]
}

/** Rows in the kernel's memory; nothing reads them before a class names them. */
export interface PolicyPorts {
  readonly length: number
  read(row: number): PortInterval
  write(row: number, interval: PortInterval): void
}

/** Classes by cell, in the kernel's memory: a store is seen by the next packet. */
export interface PolicyCells {
  readonly length: number
  /** Those that name a class. */
  entries(): Iterable<readonly [CellId, ClassId]>
  get(cell: CellId): ClassId
  set(cell: CellId, id: ClassId): void
}

/** Which generations of verdicts hold. */
export interface PolicyGenerations {
  readonly length: number
  isCurrent(generation: number): boolean
  set(generation: number, isCurrent: boolean): void
}

export interface PolicyTables {
  readonly identities: KernelHash<Address, IdentityValue> & TakesMany<Address, IdentityValue>
  readonly prefixes: KernelHash<Prefix, IdentityValue>
  readonly subjects: KernelHash<Address, PolicySubjectValue> & CanGet<Address, PolicySubjectValue>
  readonly sets: KernelArray<PolicySetValue>
  readonly peers: KernelHash<PeerKey, CellId> & TakesMany<PeerKey, CellId> & LosesMany<PeerKey>
  readonly cells: PolicyCells
  readonly classes: KernelArray<PolicyClassValue>
  readonly ports: PolicyPorts
  readonly generations: PolicyGenerations
  /** Its one row: the node's own set, as among the subjects; 0: nobody judges the node. */
  readonly host: Pick<KernelArray<SetId>, 'set'>
}

/** The key of the node's own set among the subjects. */
export const NODE_SUBJECT = parseAddress('::') as Address

const SCOPE_NUMBERS: Readonly<Record<Scope, number>> = {
  outside: abi.PolicyScope.SCOPE_OUTSIDE,
  pod: abi.PolicyScope.SCOPE_POD,
  node: abi.PolicyScope.SCOPE_NODE,
}
const DIRECTION_NUMBERS: Readonly<Record<PolicyDirection, number>> = {
  ingress: abi.PolicyDirection.POLICY_INGRESS,
  egress: abi.PolicyDirection.POLICY_EGRESS,
}
const { POLICY_DIRECTIONS } = abi.PolicyDirection
const {
  POLICY_SET_INGRESS_OPEN,
  POLICY_SET_EGRESS_OPEN,
  POLICY_SET_LOCKED,
  POLICY_SET_INGRESS_AUDITED,
  POLICY_SET_EGRESS_AUDITED,
} = abi.PolicySetFlags
const { POLICY_ALLOWED, POLICY_KEEPS_EXISTING } = abi.PolicyVerdictFlags
const PROTOCOLS = CLASS_PROTOCOLS.length

export const identityCodec: Codec<IdentityValue> = {
  encode: ({ number, scope }, into, offset) =>
    abi.encodeIdentity({ number, scope: SCOPE_NUMBERS[scope] }, into, offset),
  decode: (bytes) => {
    const { number, scope } = abi.decodeIdentity(bytes)
    return { number, scope: SCOPES.find((name) => SCOPE_NUMBERS[name] === scope) ?? 'outside' }
  },
}

export const peerKeyCodec: Codec<PeerKey> = {
  encode: ({ set, direction, identity }, into, offset) =>
    abi.encodePolicyPeerKey(
      { setAndDirection: set * POLICY_DIRECTIONS + DIRECTION_NUMBERS[direction], identity },
      into,
      offset,
    ),
  decode: (bytes) => {
    const { setAndDirection, identity } = abi.decodePolicyPeerKey(bytes)
    return {
      set: Math.floor(setAndDirection / POLICY_DIRECTIONS),
      direction: setAndDirection % POLICY_DIRECTIONS === DIRECTION_NUMBERS.egress ? 'egress' : 'ingress',
      identity,
    }
  },
}

export const policySubjectCodec: Codec<PolicySubjectValue> = {
  encode: ({ set, hairpin }, into, offset) =>
    abi.encodePolicySubject({ set, ledBack: [hairpin.ingress, hairpin.egress] }, into, offset),
  decode: (bytes) => {
    const { set, ledBack } = abi.decodePolicySubject(bytes)
    return { set, hairpin: { ingress: ledBack[0] ?? 0, egress: ledBack[1] ?? 0 } }
  },
}

export const policySetCodec: Codec<PolicySetValue> = {
  encode: ({ generation, isOpen, isAudited, isLocked, defaults }, into, offset) => {
    const flags =
      (isOpen.ingress ? POLICY_SET_INGRESS_OPEN : 0) |
      (isOpen.egress ? POLICY_SET_EGRESS_OPEN : 0) |
      (isAudited.ingress ? POLICY_SET_INGRESS_AUDITED : 0) |
      (isAudited.egress ? POLICY_SET_EGRESS_AUDITED : 0) |
      (isLocked ? POLICY_SET_LOCKED : 0)
    const { ingress: ingressDefaults, egress: egressDefaults } = defaults
    return abi.encodePolicySet({ generation, flags, ingressDefaults, egressDefaults }, into, offset)
  },
  decode: (bytes) => {
    const { generation, flags, ingressDefaults, egressDefaults } = abi.decodePolicySet(bytes)
    return {
      generation,
      isOpen: {
        ingress: (flags & POLICY_SET_INGRESS_OPEN) !== 0,
        egress: (flags & POLICY_SET_EGRESS_OPEN) !== 0,
      },
      isAudited: {
        ingress: (flags & POLICY_SET_INGRESS_AUDITED) !== 0,
        egress: (flags & POLICY_SET_EGRESS_AUDITED) !== 0,
      },
      isLocked: (flags & POLICY_SET_LOCKED) !== 0,
      defaults: { ingress: defaultsOf(ingressDefaults), egress: defaultsOf(egressDefaults) },
    }
  },
}

function defaultsOf([outside = 0, pod = 0, node = 0]: readonly number[]): Defaults {
  return [outside, pod, node]
}

function portRow(interval: PortInterval): abi.PolicyPort {
  return {
    first: interval.first,
    flags: (interval.isAllowed ? POLICY_ALLOWED : 0) | (interval.keepsExisting ? POLICY_KEEPS_EXISTING : 0),
    ruleId: interval.rule,
    wouldBeRuleId: interval.wouldBeRule,
  }
}

function intervalOf({ first, flags, ruleId, wouldBeRuleId }: abi.PolicyPort): PortInterval {
  return {
    first,
    isAllowed: (flags & POLICY_ALLOWED) !== 0,
    rule: ruleId,
    wouldBeRule: wouldBeRuleId,
    keepsExisting: (flags & POLICY_KEEPS_EXISTING) !== 0,
  }
}

const NO_PORT: abi.PolicyPort = { first: 0, flags: 0, ruleId: 0, wouldBeRuleId: 0 }

export const policyClassCodec: Codec<PolicyClassValue> = {
  encode: ({ uniform, base, starts }, into, offset) => {
    const row = {
      uniform: uniform ? portRow(uniform) : NO_PORT,
      base,
      starts: Array.from({ length: abi.AbiConstant.POLICY_STARTS }, (_, index) => starts[index] ?? 0),
    }
    return abi.encodePolicyClass(row, into, offset)
  },
  decode: (bytes) => {
    const { uniform, base, starts } = abi.decodePolicyClass(bytes)
    const isUniform = (starts[PROTOCOLS] ?? 0) === 0
    return {
      uniform: isUniform ? intervalOf(uniform) : undefined,
      base,
      starts: isUniform ? [] : starts.slice(0, PROTOCOLS + 1),
    }
  },
}

/** @param map `policy_ports` */
export function mappedPolicyPorts(map: Pick<BpfMap, 'mmap' | 'strideBytes' | 'info'>): PolicyPorts {
  const bytes = Buffer.from(map.mmap())
  return {
    length: map.info.maxEntries,
    read: (row) => intervalOf(abi.decodePolicyPort(bytes, row * map.strideBytes)),
    write: (row, interval) => {
      abi.encodePolicyPort(portRow(interval), bytes, row * map.strideBytes)
    },
  }
}

/** @param map an array of words in mapped memory */
function mappedWords(map: Pick<BpfMap, 'mmap' | 'strideBytes' | 'info'>) {
  const words = new Uint32Array(map.mmap())
  const stride = map.strideBytes / Uint32Array.BYTES_PER_ELEMENT
  return {
    length: map.info.maxEntries,
    get: (index: number) => words[index * stride] ?? 0,
    set: (index: number, value: number) => {
      Atomics.store(words, index * stride, value)
    },
  }
}

/** @param map `policy_cells` */
export function mappedPolicyCells(map: Pick<BpfMap, 'mmap' | 'strideBytes' | 'info'>): PolicyCells {
  const words = mappedWords(map)
  return {
    ...words,
    *entries() {
      for (let cell = 0; cell < words.length; cell += 1) {
        const id = words.get(cell)
        if (id !== 0) yield [cell, id] as const
      }
    },
  }
}

/** @param map `policy_generations` */
export function mappedGenerations(map: Pick<BpfMap, 'mmap' | 'strideBytes' | 'info'>): PolicyGenerations {
  const words = mappedWords(map)
  return {
    length: words.length,
    isCurrent: (generation) => words.get(generation) === 1,
    set: (generation, isCurrent) => words.set(generation, isCurrent ? 1 : 0),
  }
}
