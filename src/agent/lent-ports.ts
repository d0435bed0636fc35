// Ports from which nodes send for others, whom policy must not take for the node whose address they have: those of the datapath's SNAT,
// and of the kernel's masquerade, by which pings have their identifiers. The same on all nodes of one configuration. Pure.

import type { PolicyPacket } from '../model/policy.ts'
import type { AgentConfig } from './config.ts'
import { masqueradePorts, type PortRange } from './masquerade-rules.ts'

const PINGS: readonly number[] = [8, 128]

export interface LentPorts {
  readonly snat: PortRange
  /** Undefined: nodes masquerade nothing. */
  readonly masquerade: PortRange | undefined
}

export function lentPorts({ datapath, masquerade }: Pick<AgentConfig, 'datapath' | 'masquerade'>): LentPorts {
  const snat = datapath.snatPorts
  return { snat, masquerade: masquerade.enabled ? masqueradePorts(snat) : undefined }
}

/** Whether what comes from a node's address may be another's: as bpf/lib/policy.h has it. */
export function isLent(
  { protocol, port }: Pick<PolicyPacket, 'protocol' | 'port'>,
  sourcePort: number,
  { snat, masquerade }: LentPorts,
): boolean {
  const isIn = (range: PortRange | undefined) =>
    range !== undefined && sourcePort >= range.first && sourcePort <= range.last
  const hasPorts = protocol !== 'icmp' && protocol !== 'other'
  if (hasPorts && isIn(snat)) return true
  if (!hasPorts && !(protocol === 'icmp' && PINGS.includes(port))) return masquerade !== undefined
  return isIn(masquerade)
}
