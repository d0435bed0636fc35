// What else is on the node and touches what we do: named, with its mend, and never removed by us.

export type FindingKind =
  | 'xdp-program'
  | 'tc-program'
  | 'cgroup-program'
  | 'kube-proxy-rules'
  | 'ipvs'
  | 'process'
  | 'address-owner'
  | 'node-address'

export interface Finding {
  readonly kind: FindingKind
  /** `uplink eth0`, `iptables`, … */
  readonly where: string
  /** What was found, and what it means for us. */
  readonly what: string
  readonly mend: string
  /** Services that it concerns; none: the whole node. */
  readonly services: readonly string[]
}
