// The library's own narrow types. Protobuf messages, Any and enum numbers stay below the dialect; a caller never sees them.
// Paths and routes are in types-route.ts, peers in types-peer.ts, policy in types-policy.ts.

export type * from './types-peer.ts'
export type * from './types-policy.ts'
export type * from './types-route.ts'

export interface DaemonInfo {
  /** 0: BGP is not started, and gobgpd holds nothing. */
  readonly asn: number
  readonly routerId: string
  /** Which interface answered: 3 is `apipb.GobgpApi`, 4 is `api.GoBgpService`. */
  readonly apiVersion: 3 | 4
}

export interface DaemonSettings {
  readonly asn: number
  readonly routerId: string
  /** Left out: no listener, this side opens every session. A full mesh of nodes needs one. */
  readonly listenPort?: number
  /** Left out, with a listenPort: every address. */
  readonly listenAddresses?: readonly string[]
  /** Makes watchRoutes report every equally good path of a prefix, not the single best. */
  readonly useMultiplePaths?: boolean
}

/** A collector of RFC 7854. */
export interface BmpStation {
  readonly address: string
  readonly port: number
  /** `local-rib` is RFC 9069: the table after selection. */
  readonly policy: 'pre' | 'post' | 'both' | 'local-rib' | 'all'
  /** 15 at the least, in gobgpd; left out: no statistics reports. */
  readonly statisticsSeconds?: number
  readonly systemName?: string
  readonly systemDescription?: string
}

export interface BmpStationStatus {
  readonly address: string
  readonly port: number
  /** When the connection came up; undefined: it is down. gobgpd notices a dead collector when it next has something to say. */
  readonly upSinceMs?: number
}
