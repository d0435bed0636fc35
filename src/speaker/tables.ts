// What gobgpd's own tables say, read when somebody asks: what a peer told, what it is told, who listens to all of it.

import {
  type BmpStationStatus,
  type GobgpClient,
  GobgpError,
  type PeerRemote,
  type Route,
} from '../../bgp/client/gobgp-grpc-client.ts'
import { FAMILIES, type Prefix, parsePrefix } from '../model/address.ts'
import { isMarker } from './export-classes.ts'
import type { ImportVerdict } from './learned-routes.ts'

/** A route a peer told, and what became of it. */
export interface ReceivedRoute extends Route {
  readonly verdict: ImportVerdict
}

export interface SpeakerTables {
  /** Before policy. */
  readonly received: (remote: PeerRemote, address: string) => Promise<readonly ReceivedRoute[]>
  /** What the policy in force lets out; see TableName for what version 3 does not know. The marker of a class never leaves. */
  readonly advertised: (remote: PeerRemote) => Promise<readonly Route[]>
  /** Version of gobgpd's interface, and its collectors; undefined where it does not answer. */
  readonly daemon: () => Promise<DaemonFacts | undefined>
}

export interface DaemonFacts {
  readonly apiVersion: 3 | 4
  readonly collectors: readonly BmpStationStatus[]
}

type Judge = (address: string, prefix: Prefix) => ImportVerdict | undefined

export function speakerTables(client: GobgpClient, judge: Judge): SpeakerTables {
  const both = async (kind: 'adj-in' | 'adj-out', peer: PeerRemote) => {
    const tables = await Promise.all(FAMILIES.map((family) => client.listRoutes({ kind, peer }, family)))
    return tables.flat()
  }
  return {
    received: async (remote, address) => {
      const [plain = ''] = address.split('%')
      return (await both('adj-in', remote)).map((route) => {
        const prefix = parsePrefix(route.prefix)
        return { ...route, verdict: (prefix && judge(plain, prefix)) ?? 'no-rules' }
      })
    },
    advertised: async (remote) => (await both('adj-out', remote)).map(withoutMarker),
    daemon: async () => {
      try {
        const [{ apiVersion }, collectors] = await Promise.all([client.probe(), client.listBmp()])
        return { apiVersion, collectors }
      } catch (error) {
        if (error instanceof GobgpError) return undefined
        throw error
      }
    },
  }
}

function withoutMarker(route: Route): Route {
  const { largeCommunities } = route
  return largeCommunities
    ? { ...route, largeCommunities: largeCommunities.filter((one) => !isMarker(one)) }
    : route
}
