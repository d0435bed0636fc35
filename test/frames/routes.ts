// Which ends a frame passes on its way through this node, by where it comes from and what Services make of it.

import { familyOf } from '../../src/model/address.ts'
import { type Cast, type FrameService, OWN, SERVICE_ADDRESSES, serviceAt } from './cast.ts'
import { isError, isOfLink } from './gates.ts'
import { type Checkpoint, type Known, type Route, routed, type Session, toPod } from './route.ts'
import { errorRoutes } from './routes-of-errors.ts'
import type { Place, Said, Step } from './said.ts'

const placesOf = (said: Said) => ({
  from: { address: said.source, port: said.sourcePort },
  to: { address: said.destination, port: said.destinationPort },
})
const isSame = (one: Place, other: Place) => one.address === other.address && one.port === other.port
const isAnyBeginning = ({ protocol, act, piece }: Said) =>
  (protocol === 'tcp' || protocol === 'sctp') && act === 'begin' && piece?.which !== 'later'
const isGroup = (address: string) => /^ff/.test(address)
const OF_GROUPS: Checkpoint = { kind: 'either', why: 'the node may listen' }
const PAST_SERVICE: Checkpoint = {
  kind: 'either',
  why: 'answers by a Service what the backend began past it',
}
const drop = (why: string): Checkpoint => ({ kind: 'drop', why })

/** All ways that the step may rightly take. */
export function routesOf(step: Step, known: Known): readonly Route[] {
  if (isError(step.said) && !known.hidesPorts(step.said)) {
    const ofService = errorRoutes(step, known)
    if (ofService) return ofService
  }
  if (step.from === 'wire') return fromWire(step.said, known)
  return step.from === 'node' ? [fromNode(step.said, known)] : fromPod(step.said, step.from, known)
}

function sessionOf(said: Said, { sessions }: Known): Session | undefined {
  if (isAnyBeginning(said)) return undefined
  const { from, to } = placesOf(said)
  return sessions.find(
    ({ service, client }) =>
      isSame(client, from) && isSame(service.at, to) && service.protocol === said.protocol,
  )
}

/** Of which the packet is an answer. */
function answeredSession(said: Said, { sessions }: Known): Session | undefined {
  const { from, to } = placesOf(said)
  return sessions.find(
    ({ service, client, backend, lent, isUnanswered }) =>
      !isUnanswered &&
      isSame(backend, from) &&
      service.protocol === said.protocol &&
      // Nobody but who answers knows of a port that is lent.
      (lent.length > 0 ? lent.some((each) => isSame(each, to)) : isSame(client, to) && !isAnyBeginning(said)),
  )
}

const isToService = ({ destination }: Said) => SERVICE_ADDRESSES.includes(destination)

function toBackend(said: Said, { address, port }: Place): Said {
  return { ...said, destination: address, destinationPort: port }
}

function fromNode(said: Said, { cast }: Known): Route {
  if (cast.podAt.has(said.destination)) return { path: 'node → pod here', ...toPod(said, cast) }
  const own: Checkpoint = { kind: 'end', owner: 'node', way: 'egress', said }
  return { path: 'node → elsewhere', checkpoints: [own], arrival: { kind: 'left' } }
}

// From outside.

function fromWire(said: Said, known: Known): readonly Route[] {
  const { cast } = known
  const service = known.hidesPorts(said) ? undefined : serviceAt(cast, said)
  // Services are served whatever the network; what else is tagged is for a device that is not there.
  if (said.tag !== undefined && said.tag !== 0) {
    const other: Route = { path: 'tagged from outside', checkpoints: [], arrival: { kind: 'not-served' } }
    return service ? [...wireToService(said, service, known), other] : [other]
  }
  const isStrangers = said.tunnel && !cast.otherNodes.includes(said.tunnel.from)
  if (service && !isStrangers) return wireToService(said, service, known)
  if (isToService(said) || said.tunnel)
    return [{ path: 'outside → no Service', checkpoints: [], arrival: { kind: 'not-served' } }]
  const answered = known.hidesPorts(said) ? undefined : answeredSession(said, known)
  if (answered?.lent.length && !isAnyBeginning(said))
    return [{ path: 'masqueraded answer → outside', checkpoints: [], arrival: { kind: 'left' } }]
  if (answered?.isFromPod && !answered.lent.length && !cast.podAt.has(answered.backend.address))
    return [wireAnswer(said, answered, cast)]
  if (cast.podAt.has(said.destination)) return [wireToPod(said, known)]
  if (said.destination === OWN[familyOf(said.destination)]) {
    const own: Checkpoint = { kind: 'end', owner: 'node', way: 'ingress', said, isFromWire: true }
    const isForged = cast.podAt.has(said.source) && !isError(said) && known.isNodeSelected()
    const checkpoints = isForged ? [drop('forged'), own] : [own]
    return [{ path: 'outside → node', checkpoints, arrival: { kind: 'node' } }]
  }
  return [{ path: 'outside → outside', checkpoints: [], arrival: { kind: 'not-served' } }]
}

/** To a pod as it is. Addresses of this node's pods are nobody's who sends from outside. */
function wireToPod(said: Said, known: Known): Route {
  const { cast } = known
  const arriving = routed(said)
  const way = toPod(arriving, cast, { isFromWire: true })
  if (!cast.podAt.has(said.source)) return { path: 'outside → pod here', ...way }
  const forged: Checkpoint = isError(said) ? { kind: 'either', why: 'a forged error' } : drop('forged')
  return { path: 'forged from outside', checkpoints: [forged, ...way.checkpoints], arrival: way.arrival }
}

/** What a Service's backend elsewhere says to a pod here. */
function wireAnswer(said: Said, { service, client }: Session, cast: Cast): Route {
  const turned = { ...routed(said), source: service.at.address, sourcePort: service.at.port }
  return {
    path: 'answer from elsewhere → pod here',
    ...toPod({ ...turned, destination: client.address }, cast),
  }
}

function wireToService(said: Said, service: FrameService, known: Known): readonly Route[] {
  const { cast } = known
  const session = sessionOf(said, known)
  const backends = said.tunnel ? [said.tunnel.chosen] : session ? [session.backend] : service.backends
  const client = placesOf(said).from
  return backends.map((backend): Route => {
    const begun = { service, client, backend, isFromPod: false, lent: [] }
    const from = nameOfWay(said, service, cast)
    if (!cast.podAt.has(backend.address))
      return { path: `${from} → elsewhere`, checkpoints: [], arrival: { kind: 'left' }, session: begun }
    const inside = toBackend(said, backend)
    const isForged = cast.podAt.has(said.source) && !said.tunnel
    const way = toPod(inside, cast, { isFromWire: true })
    const mayBePast = (!session || session.isUnanswered) && !isAnyBeginning(said)
    const isPast = mayBePast && known.knows({ owner: backend.address, way: 'ingress', said: inside })
    const before = isForged ? [drop('forged')] : isPast ? [PAST_SERVICE] : []
    const checkpoints = [...before, ...way.checkpoints]
    return { path: `${from} → pod here`, checkpoints, arrival: way.arrival, session: begun }
  })
}

function nameOfWay({ tunnel, source }: Said, { kind }: FrameService, cast: Cast): string {
  if (tunnel) return cast.podAt.has(source) ? 'tunnel of a pod here' : 'tunnel'
  return kind === 'node-port' ? 'node port' : kind
}

// From a pod.

function fromPod(said: Said, device: string, known: Known): readonly Route[] {
  const { cast } = known
  const owns = cast.podAt.get(said.source)?.device === device
  const sent: Checkpoint = { kind: 'end', owner: said.source, way: 'egress', said }
  if (said.tag !== undefined) return [refused('tagged by a pod', drop('tagged'))]
  if (isOfLink(said)) return [ofLink(said, device, known)]
  if (!owns) return [refused('forged by a pod', drop('forged'))]
  const isHidden = known.hidesPorts(said)
  const service = isHidden ? undefined : serviceAt(cast, said)
  const answered = isHidden ? undefined : answeredSession(said, known)
  if (answered?.lent.length) return [answerToItself(answered, said, device)]
  if (answered) return [podAnswer(said, sent, answered, known)]
  const isKnown = known.knows({ owner: said.source, way: 'egress', said }) && !isAnyBeginning(said)
  const isDirect = service && isKnown && !sessionOf(said, known)
  if (service && !isDirect) return podToService(said, service, device, known)
  if (isToService(said))
    return [{ path: 'pod → no Service', checkpoints: [], arrival: { kind: 'not-served' } }]
  return [podDirect(said, sent, known)]
}

const refused = (path: string, why: Checkpoint): Route => ({
  path,
  checkpoints: [why],
  arrival: { kind: 'not-served' },
})

/** Discovery goes wherever the link is; beyond, it would be routed. */
function ofLink(said: Said, device: string, { cast }: Known): Route {
  const path = 'neighbour discovery'
  const to = cast.podAt.get(said.destination)
  if (to && to.device !== device) return { path, ...toPod(routed(said), cast) }
  const isHere = /^ff|^fe[89ab]/.test(said.destination) || said.destination === OWN.ipv6
  if (isHere) return { path, checkpoints: [], arrival: { kind: 'node' } }
  return to
    ? { path, ...toPod(routed(said), cast) }
    : { path, checkpoints: [{ kind: 'either', why: 'beyond its link' }], arrival: { kind: 'not-served' } }
}

function podDirect(said: Said, sent: Checkpoint, { cast, knows }: Known): Route {
  if (cast.podAt.has(said.destination)) {
    const way = toPod(routed(said), cast)
    return { path: 'pod → pod here', checkpoints: [sent, ...way.checkpoints], arrival: way.arrival }
  }
  if (isGroup(said.destination))
    return { path: 'pod → group', checkpoints: [sent, OF_GROUPS], arrival: { kind: 'node' } }
  if (said.destination !== OWN[familyOf(said.destination)])
    return { path: 'pod → elsewhere', checkpoints: [sent], arrival: { kind: 'left' } }
  const goesOn = knows({ owner: said.source, way: 'egress', said }) && !isAnyBeginning(said)
  const own: Checkpoint = { kind: 'end', owner: 'node', way: 'ingress', said, goesOn }
  return { path: 'pod → node', checkpoints: [sent, own], arrival: { kind: 'node' } }
}

/** Both of its own ends are asked for what it began. */
function answerToItself({ service, client, backend }: Session, said: Said, device: string): Route {
  const owner = client.address
  const goesOn = { ...said, act: 'go-on' } as const
  const between = (from: Place, to: Place): Said => ({
    ...goesOn,
    ...{ source: from.address, sourcePort: from.port, destination: to.address, destinationPort: to.port },
  })
  const checkpoints: readonly Checkpoint[] = [
    { kind: 'end', owner, way: 'egress', said: between(backend, client) },
    { kind: 'end', owner, way: 'ingress', said: between(service.at, client) },
  ]
  return { path: 'answer → itself', checkpoints, arrival: { kind: 'pod', device } }
}

/** Its source becomes the Service's address again. */
function podAnswer(
  said: Said,
  sent: Checkpoint,
  { service, client, isFromPod }: Session,
  known: Known,
): Route {
  const knowsIt = known.knows({ owner: said.source, way: 'egress', said })
  // The connection that it would answer was denied here.
  const checkpoints = knowsIt ? [sent] : [{ kind: 'either', why: 'answers what was denied' } as const, sent]
  if (!isFromPod) return { path: 'answer → outside', checkpoints, arrival: { kind: 'left' } }
  const turned = { ...routed(said), source: service.at.address, sourcePort: service.at.port }
  const way = toPod({ ...turned, destination: client.address }, known.cast)
  return {
    path: 'answer → pod here',
    checkpoints: [...checkpoints, ...way.checkpoints],
    arrival: way.arrival,
  }
}

function podToService(said: Said, service: FrameService, device: string, known: Known): readonly Route[] {
  const { cast } = known
  const session = sessionOf(said, known)
  const client = placesOf(said).from
  const backends = session ? [session.backend] : service.backends
  return backends.map((backend): Route => {
    const begun = { service, client, backend, isFromPod: true, lent: [] }
    const isHairpin = backend.address === said.source
    const out: Checkpoint = {
      ...{ kind: 'end', owner: said.source, way: 'egress', said },
      ...{ leadsTo: backend, isHairpin },
    }
    if (isHairpin) {
      const back: Checkpoint = { ...out, way: 'ingress', said: toBackend(said, backend) }
      const arrival = { kind: 'pod', device } as const
      return { path: 'pod → Service → itself', checkpoints: [out, back], arrival, session: begun }
    }
    if (!cast.podAt.has(backend.address))
      return {
        path: 'pod → Service → elsewhere',
        checkpoints: [out],
        arrival: { kind: 'left' },
        session: begun,
      }
    const way = toPod(toBackend(routed(said), backend), cast)
    const checkpoints = [out, ...way.checkpoints]
    return { path: 'pod → Service → pod here', checkpoints, arrival: way.arrival, session: begun }
  })
}
