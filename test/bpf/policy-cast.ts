// The rows that lib/policy.h is asked with: a pod that is judged, one that is open, and their peers.

import { type Address, address } from '../../src/model/address.ts'
import {
  type ClassRow,
  FIRST_RULE,
  type IdentityRow,
  type PolicyChange,
  type PortInterval,
  type SetDirection,
  type SetRow,
  type SubjectRow,
} from '../../src/policy/compile/rows.ts'
import { cellOf, cellsOf, uniform } from './policy-rows.ts'

export const POD = address('10.244.1.5')
export const POD6 = address('fd00:244:1::5')
export const UNKNOWN_POD = address('10.244.1.77')
export const FRIEND = address('10.244.2.8')
export const FRIEND6 = address('fd00:244:2::8')
export const STRANGER = address('10.244.2.9')
export const OTHER_NODE = address('10.255.0.2')
export const OUTSIDE = address('198.51.100.7')
export const NEAR_OUTSIDE = address('198.51.100.200')
export const WORLD = address('192.0.2.1')
export const WORLD6 = address('2001:db8::1')

export const IDENTITY = {
  friend: 300,
  stranger: 301,
  near: (1 << 24) + 1,
  ipv4: 9,
  ipv6: 10,
  node: 6,
} as const
export const SET = { judged: 1, open: 2 } as const
export const CLASS = { deny: 1, allow: 2, ports: 3, world: 4, node: 5, near: 6 } as const
export const rule = (number: number) => FIRST_RULE + number

export function verdict(
  isAllowed: boolean,
  number: number,
  first = 0,
  more: Partial<PortInterval> = {},
): PortInterval {
  return { first, isAllowed, rule: rule(number), wouldBeRule: 0, keepsExisting: false, ...more }
}

const DENIED = verdict(false, 0)
const PORTS: ClassRow = {
  class: CLASS.ports,
  uniform: undefined,
  protocols: [
    [
      DENIED,
      verdict(true, 1, 80),
      verdict(false, 2, 81, { wouldBeRule: rule(9) }),
      verdict(true, 3, 8000),
      { ...DENIED, first: 9000 },
    ],
    [verdict(true, 4), { ...DENIED, first: 53, keepsExisting: true }],
    [DENIED, verdict(true, 5, 65_535)],
    [DENIED, verdict(true, 6, 8), { ...DENIED, first: 9 }],
    [DENIED, verdict(true, 7, 128), { ...DENIED, first: 129 }],
    [DENIED],
  ],
}

const closed: SetDirection = { defaults: [CLASS.world, CLASS.deny, CLASS.node], isOpen: false }
const open: SetDirection = { defaults: [0, 0, 0], isOpen: true }
export const judgedSet: SetRow = { set: SET.judged, epoch: 1, ingress: closed, egress: closed }
export const id = (text: Address | string, identity: number, scope: IdentityRow['scope']): IdentityRow => ({
  kind: text.includes('/') ? 'prefix' : 'address',
  text,
  identity,
  scope,
})

export const subject = (at: Address, set: number): SubjectRow => ({
  ...{ kind: 'pod', address: at, set, pod: 'a/b' },
  hairpin: { ingress: CLASS.ports, egress: CLASS.near },
})

export const BEGINNING: PolicyChange = [
  {
    table: 'classes',
    put: [
      uniform(CLASS.deny, verdict(false, 10)),
      uniform(CLASS.allow, verdict(true, 11)),
      PORTS,
      uniform(CLASS.world, verdict(false, 12)),
      uniform(CLASS.node, verdict(true, 13)),
      uniform(CLASS.near, verdict(true, 14)),
    ],
  },
  cellsOf(CLASS.ports, CLASS.allow, CLASS.near),
  {
    table: 'peers',
    put: [
      { set: SET.judged, direction: 'ingress', identity: IDENTITY.friend, cell: cellOf(CLASS.ports) },
      { set: SET.judged, direction: 'egress', identity: IDENTITY.friend, cell: cellOf(CLASS.allow) },
      { set: SET.judged, direction: 'ingress', identity: IDENTITY.near, cell: cellOf(CLASS.near) },
    ],
  },
  {
    table: 'sets',
    put: [judgedSet, { set: SET.open, epoch: 1, ingress: open, egress: open }],
  },
  {
    table: 'identities',
    put: [
      id('0.0.0.0/0', IDENTITY.ipv4, 'outside'),
      id('::/0', IDENTITY.ipv6, 'outside'),
      id('198.51.100.128/25', IDENTITY.near, 'outside'),
      id(FRIEND, IDENTITY.friend, 'pod'),
      id(FRIEND6, IDENTITY.friend, 'pod'),
      id(STRANGER, IDENTITY.stranger, 'pod'),
      id(OTHER_NODE, IDENTITY.node, 'node'),
    ],
  },
  {
    table: 'subjects',
    put: [subject(POD, SET.judged), subject(POD6, SET.judged), subject(FRIEND, SET.open)],
  },
]
