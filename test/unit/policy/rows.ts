// Policies and worlds for tests, everything defaulted: a case names only what it is about.

import { type Prefix, parsePrefix } from '../../../src/model/address.ts'
import { type LabelSelector, type SelectorSource, toSelector } from '../../../src/model/label-selector.ts'
import {
  type DirectionRules,
  NAMESPACE_NAME_LABEL,
  type NetworksCover,
  type Policy,
  type PolicyEntity,
  type PolicyNode,
  type PolicyPacket,
  type PolicyPeer,
  type PolicyPod,
  type PolicyRule,
  type PolicySubject,
  type PolicyWorld,
  type PortMatch,
  type PortProtocol,
} from '../../../src/model/policy.ts'

export const EVERYTHING: LabelSelector = { requirements: [] }

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new TypeError(`not a prefix: ${text}`)
  return parsed
}

type Labels = Readonly<Record<string, string>>

/** `{ app: 'web' }` is short for its `matchLabels`. */
export function labels(matchLabels: Labels): LabelSelector {
  return toSelector({ matchLabels })
}

export function expression(
  key: string,
  operator: NonNullable<SelectorSource['matchExpressions']>[number]['operator'],
  ...values: string[]
): LabelSelector {
  return toSelector({ matchExpressions: [{ key, operator, values }] })
}

export function namespaceNamed(name: string): LabelSelector {
  return labels({ [NAMESPACE_NAME_LABEL]: name })
}

/** A peer: pods that both select; left out: everything. */
export function pods(wanted: {
  readonly namespaces?: LabelSelector
  readonly pods?: LabelSelector
}): Extract<PolicyPeer, { kind: 'pods' }> {
  return { kind: 'pods', namespaces: wanted.namespaces ?? EVERYTHING, pods: wanted.pods ?? EVERYTHING }
}

export function networks(
  text: string,
  except: readonly string[] = [],
  covers: NetworksCover = 'everything',
): Extract<PolicyPeer, { kind: 'networks' }> {
  return { kind: 'networks', prefix: prefix(text), except: except.map(prefix), covers }
}

export function entity(name: PolicyEntity): PolicyPeer {
  return { kind: 'entity', entity: name }
}

/** One port, a range, or without any the whole protocol. */
export function ports(protocol: PortProtocol, first = 0, last = first === 0 ? 65535 : first): PortMatch {
  return { kind: 'ports', protocol, first, last }
}

export function namedPort(name: string, protocol?: PortProtocol): PortMatch {
  return { kind: 'named', protocol, name }
}

export function rule(overrides: Partial<PolicyRule> = {}): PolicyRule {
  return { action: 'allow', peers: 'any', ports: 'any', path: 'spec.rule', ...overrides }
}

/** Rules as one direction of an object has them; each is called by its place there. */
function direction(
  field: string,
  isolates: boolean,
  rules: readonly Partial<PolicyRule>[] | undefined,
): DirectionRules | undefined {
  return (
    rules && {
      isolates,
      rules: rules.map((item, index) => rule({ path: `spec.${field}[${index}]`, ...item })),
    }
  )
}

interface Written {
  readonly ingress?: readonly Partial<PolicyRule>[]
  readonly egress?: readonly Partial<PolicyRule>[]
}

function basePolicy(key: string, subject: PolicySubject): Policy {
  return {
    kind: 'NetworkPolicy',
    key,
    part: 0,
    uid: `uid-${key}`,
    tier: 'normal',
    priority: 0,
    subject,
    ingress: undefined,
    egress: undefined,
    isAudit: false,
    existingConnections: undefined,
    faults: [],
  }
}

/** A NetworkPolicy for the pods of its namespace that `selected` has: it isolates each direction that is written. */
export function networkPolicy(
  key: string,
  selected: LabelSelector,
  written: Written,
  overrides: Partial<Policy> = {},
): Policy {
  const subject: PolicySubject = {
    kind: 'pods',
    namespaces: namespaceNamed(key.split('/')[0] ?? ''),
    pods: selected,
  }
  return {
    ...basePolicy(key, subject),
    ingress: direction('ingress', true, written.ingress),
    egress: direction('egress', true, written.egress),
    ...overrides,
  }
}

export function clusterNetworkPolicy(
  key: string,
  tier: 'admin' | 'baseline',
  written: Written & {
    readonly namespaces?: LabelSelector
    readonly pods?: LabelSelector
    readonly priority?: number
  },
  overrides: Partial<Policy> = {},
): Policy {
  return {
    ...basePolicy(key, pods(written)),
    kind: 'ClusterNetworkPolicy',
    tier,
    priority: written.priority ?? 10,
    ingress: direction('ingress', false, written.ingress),
    egress: direction('egress', false, written.egress),
    ...overrides,
  }
}

/** A CiliumNetworkPolicy (with a `/` in its key) or CiliumClusterwideNetworkPolicy; `enableDefaultDeny` as in the object. */
export function ciliumPolicy(
  key: string,
  selected: PolicySubject | LabelSelector,
  written: Written & { readonly enableDefaultDeny?: boolean },
  overrides: Partial<Policy> = {},
): Policy {
  const isNamespaced = key.includes('/')
  const subject: PolicySubject =
    'kind' in selected
      ? selected
      : {
          kind: 'pods',
          namespaces: isNamespaced ? namespaceNamed(key.split('/')[0] ?? '') : EVERYTHING,
          pods: selected,
        }
  const isolates = written.enableDefaultDeny ?? true
  return {
    ...basePolicy(key, subject),
    kind: isNamespaced ? 'CiliumNetworkPolicy' : 'CiliumClusterwideNetworkPolicy',
    ingress: direction('ingress', isolates, written.ingress),
    egress: direction('egress', isolates, written.egress),
    ...overrides,
  }
}

export function pod(key: string, overrides: Partial<PolicyPod> = {}): PolicyPod {
  return {
    key,
    namespace: key.split('/')[0] ?? '',
    labels: {},
    serviceAccount: 'default',
    addresses: [],
    node: 'n1',
    isHostNetwork: false,
    isFinished: false,
    namedPorts: [],
    ...overrides,
  }
}

export function node(name: string, overrides: Partial<PolicyNode> = {}): PolicyNode {
  return { name, labels: {}, addresses: [], ...overrides }
}

export function world(overrides: Partial<PolicyWorld> = {}): PolicyWorld {
  return {
    policies: [],
    pods: [],
    namespaces: new Map(),
    nodes: [],
    networkGroups: [],
    services: [],
    apiServers: [],
    ...overrides,
  }
}

export function packet(
  source: string,
  destination: string,
  overrides: Partial<PolicyPacket> = {},
): PolicyPacket {
  return {
    source,
    destination,
    protocol: 'tcp',
    port: 80,
    node: 'n1',
    isMasqueraded: false,
    isHairpin: false,
    ...overrides,
  }
}
