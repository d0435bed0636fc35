// A BFD session as people read it.

import { BfdDiagnostic, type BfdState } from '../datapath/abi.gen.ts'
import type { BfdEntry } from '../datapath/bfd-sessions.ts'

export type BfdView = BfdSessionView | BfdMissing

/** A peer that has no session, and why. */
export interface BfdMissing {
  readonly peer: string
  readonly state: 'unplaced'
  readonly problem: string
}

export type BfdSessionView = ReturnType<typeof describeBfdState> & {
  /** Undefined: no longer wanted. */
  readonly peer: string | undefined
  readonly address: string
  readonly local: string | undefined
  readonly link: string
}

const NS_PER_MS = 1_000_000n
const US_PER_MS = 1000
const STATES = ['admin-down', 'down', 'init', 'up'] as const
const REFUSALS = ['hops', 'checksum', 'malformed', 'authenticated', 'discriminator'] as const

export function describeBfdState(
  { isAdminDown, discriminator, intervalUs, multiplier }: BfdEntry['value'],
  state: BfdState,
  nowNs: bigint,
) {
  const msSince = (ns: bigint) => (ns === 0n ? undefined : Number((nowNs - ns) / NS_PER_MS))
  const ms = (us: number) => us / US_PER_MS
  return {
    state: isAdminDown ? ('admin-down' as const) : (STATES[state.state] ?? 'down'),
    stateMs: msSince(state.changedNs),
    diagnostic: diagnosticOf(state),
    discriminator,
    intervalMs: ms(intervalUs),
    multiplier,
    detectionMs: ms(state.detectionUs),
    remote: {
      state: STATES[state.remoteState] ?? 'down',
      discriminator: state.remoteDiscriminator,
      desiredMs: ms(state.remoteDesiredUs),
      requiredMs: ms(state.remoteRequiredUs),
      multiplier: state.remoteMultiplier,
      heardMs: msSince(state.heardNs),
    },
    ups: state.ups,
    downs: state.downs,
    received: Number(state.received),
    answered: Number(state.answered),
    refused: Object.fromEntries(REFUSALS.map((name, index) => [name, state.refused[index] ?? 0])),
  }
}

const DIAGNOSTICS: Readonly<Record<number, string>> = {
  [BfdDiagnostic.BFD_DIAGNOSTIC_SILENCE]: 'nothing was heard for the detection time',
  [BfdDiagnostic.BFD_DIAGNOSTIC_NEIGHBOUR]: 'the neighbour said so',
  [BfdDiagnostic.BFD_DIAGNOSTIC_ADMIN]: 'switched off here',
}

export function diagnosticOf({ diagnostic }: BfdState): string | undefined {
  return DIAGNOSTICS[diagnostic]
}
