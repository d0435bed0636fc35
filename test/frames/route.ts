// A way through this node: the ends that are asked on it, and where it leads.

import type { Cast, FrameService } from './cast.ts'
import type { Gate } from './gates.ts'
import type { Place, Said } from './said.ts'

/** What a Service's connection leads from and to. */
export interface Session {
  readonly service: FrameService
  readonly client: Place
  readonly backend: Place
  readonly isFromPod: boolean
  /** This node's address and ports in whose name it goes on, and went on before it was begun anew. */
  readonly lent: readonly Place[]
  /** The backend has begun a connection of its own with the client's port. */
  readonly isUnanswered?: true
}

export type Checkpoint =
  | ({ readonly kind: 'end' } & Gate)
  | { readonly kind: 'drop' | 'either'; readonly why: string }

export type Arrival =
  | { readonly kind: 'pod'; readonly device: string }
  | { readonly kind: 'node' }
  | { readonly kind: 'left' }
  /** Answered, refused or dropped: at no end but, perhaps, the sender's. */
  | { readonly kind: 'not-served' }

export interface Route {
  readonly path: string
  readonly checkpoints: readonly Checkpoint[]
  readonly arrival: Arrival
  /** What it begins, or goes on with. */
  readonly session?: Session
}

export const routed = (said: Said): Said => ({ ...said, hops: (said.hops ?? 64) - 1 })

export interface Known {
  readonly cast: Cast
  readonly sessions: readonly Session[]
  readonly hidesPorts: (said: Said) => boolean
  readonly isNodeSelected: () => boolean
  readonly knows: (gate: Pick<Gate, 'owner' | 'way' | 'said'>) => boolean
}

export function toPod(
  said: Said,
  cast: Cast,
  more: Partial<Gate> = {},
): Pick<Route, 'checkpoints' | 'arrival'> {
  const here = cast.podAt.get(said.destination)
  if (!here) throw new RangeError(`${said.destination} is no pod here`)
  return {
    checkpoints: [{ kind: 'end', owner: said.destination, way: 'ingress', said, ...more }],
    arrival: { kind: 'pod', device: here.device },
  }
}
