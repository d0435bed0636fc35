// What the speaker could not do, or sees going wrong, in a form that can be shown on an object and told as an Event.

export type ProblemCode =
  | 'round-failed'
  | 'gobgpd-dies'
  | 'other-asn'
  | 'peer-refused'
  | 'peer-unresolved'
  | 'password-unreadable'
  | 'no-next-hop'
  | 'ambiguous-peer'
  | 'authentication-failing'
  | 'peer-silent'
  | 'advertised-differs'
  | 'too-many-classes'
  | 'imports-limit'
  | 'told-too-much'
  | 'route-not-installed'
  | 'not-for-guests'
  | 'owned-by-host'
  | 'collector-unreachable'

export interface SpeakerProblem {
  readonly code: ProblemCode
  /** The object and key that asked: `routing.peers[0]`, `CiliumBGPClusterConfig fabric`; or a prefix. */
  readonly object: string
  /** One sentence, with the mend. */
  readonly text: string
}
