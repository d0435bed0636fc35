// The speaker with what it needs of this node: its links and routes, passwords, and somebody to tell of problems.

import type { Logger } from 'pino'
import type { EventRecorder } from '../kube/events.ts'
import { readTcpFacts } from '../speaker/authentication.ts'
import { kernelRoutes } from '../speaker/kernel-routes.ts'
import { readLinks, readNeighbourAges } from '../speaker/links.ts'
import type { PasswordReader } from '../speaker/passwords.ts'
import type { SpeakerProblem } from '../speaker/problems.ts'
import { createSpeaker, type Speaker, type SpeakerOptions } from '../speaker/speaker.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { nodeObject } from './report-problems.ts'

export interface SpeakerParts {
  readonly nodeName: string
  /** gobgpd's address, and whose it is. */
  readonly gobgp: string
  readonly mode: NonNullable<SpeakerOptions['host']>
  readonly readPassword: PasswordReader
  readonly log: Logger
  readonly netlink: Netlink
  readonly events: Pick<EventRecorder, 'record'>
  readonly onSessions: NonNullable<SpeakerOptions['onSessions']>
}

export function makeSpeaker(parts: SpeakerParts): Speaker {
  const { netlink, events } = parts
  const node = nodeObject(parts.nodeName)
  return createSpeaker({
    gobgpSocket: parts.gobgp,
    host: parts.mode,
    log: parts.log,
    onSessions: parts.onSessions,
    readPassword: parts.readPassword,
    readLinks: () => readLinks(netlink),
    kernelRoutes: kernelRoutes(netlink),
    readTcp: () => readTcpFacts(),
    readNeighbours: () => readNeighbourAges(netlink),
    // The recorder says the same thing again only after a while.
    onProblems: (problems) => {
      for (const { code, text } of problems) events.record(node, 'Warning', reasonOf(code), text)
    },
  })
}

/** `no-next-hop` → `RoutingNoNextHop`. */
function reasonOf(code: SpeakerProblem['code']): string {
  return `Routing${code.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())}`
}
