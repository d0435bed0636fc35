// The ways of ICMP errors about a Service's connections: each end hears of the packet that it knows.

import type { Cast } from './cast.ts'
import type { Gate } from './gates.ts'
import { type Known, type Route, routed, type Session, toPod } from './route.ts'
import { hasPorts, type Place, type Said, type Step } from './said.ts'

const isAt = (said: Said, which: 'source' | 'destination', { address, port }: Place) =>
  said[which] === address && said[`${which}Port`] === port

const quoting = (said: Said, change: Partial<Said>): Said => ({
  ...said,
  ...(said.quotes && { quotes: { ...said.quotes, ...change } }),
})

const quotedFrom = ({ address, port }: Place): Partial<Said> => ({ source: address, sourcePort: port })
const quotedTo = ({ address, port }: Place): Partial<Said> => ({
  destination: address,
  destinationPort: port,
})
const LEFT: Pick<Route, 'checkpoints' | 'arrival'> = { checkpoints: [], arrival: { kind: 'left' } }

/** Undefined: the error is of no Service's connection. */
export function errorRoutes({ from, said }: Step, known: Known): readonly Route[] | undefined {
  const { quotes } = said
  if (!quotes || !hasPorts(quotes) || quotes.source !== said.destination || said.tag !== undefined)
    return undefined
  if (from === 'wire') return errorFromWire(said, quotes, known)
  return from === 'node' ? undefined : errorFromPod(said, quotes, from, known)
}

function errorFromWire(said: Said, quotes: Said, { cast, sessions }: Known): readonly Route[] | undefined {
  const ofProtocol = sessions.filter(({ service }) => service.protocol === quotes.protocol)
  const answers = ofProtocol.find(
    ({ service, client, isFromPod }) =>
      !isFromPod && isAt(quotes, 'source', service.at) && isAt(quotes, 'destination', client),
  )
  if (answers) return [errorToBackend(said, answers, cast)]
  const lent = ofProtocol.find(
    ({ lent: ports, backend }) =>
      ports.some((each) => isAt(quotes, 'source', each)) && isAt(quotes, 'destination', backend),
  )
  if (lent) return [{ path: 'error of a masqueraded connection', ...LEFT }]
  const begun = ofProtocol.find(
    ({ client, backend, isFromPod }) =>
      isFromPod && isAt(quotes, 'source', client) && isAt(quotes, 'destination', backend),
  )
  if (begun && !cast.podAt.has(begun.backend.address)) return [errorToClientHere(said, begun, cast)]
  return errorOfUnknown(said, quotes, cast)
}

function errorToBackend(said: Said, { backend }: Session, cast: Cast): Route {
  if (!cast.podAt.has(backend.address)) return { path: 'error → elsewhere', ...LEFT }
  const turned = quoting({ ...said, destination: backend.address }, quotedFrom(backend))
  return { path: 'error → Service → pod here', ...toPod(turned, cast, { isFromWire: true }) }
}

function errorToClientHere(said: Said, { service, backend }: Session, cast: Cast): Route {
  const source = said.source === backend.address ? service.at.address : said.source
  const turned = quoting({ ...routed(said), source }, quotedTo(service.at))
  return { path: 'error from elsewhere → client here', ...toPod(turned, cast, { isFromWire: true }) }
}

/** Nobody knows the connection, if there is one: the same table may find its backend, who is asked like of any message. */
function errorOfUnknown(said: Said, quotes: Said, cast: Cast): readonly Route[] | undefined {
  const service = cast.services.find(
    ({ at, protocol }) => isAt(quotes, 'source', at) && protocol === quotes.protocol,
  )
  if (!service) return undefined
  const path = 'error of an unknown connection'
  const toBackends = service.backends.map((backend): Route => {
    if (!cast.podAt.has(backend.address)) return { path, ...LEFT }
    const turned = quoting({ ...said, destination: backend.address }, quotedFrom(backend))
    const way = toPod(turned, cast, { isFromWire: true })
    const mayEnd = { kind: 'either', why: 'nobody knows the connection' } as const
    return { path, checkpoints: [mayEnd, ...way.checkpoints], arrival: way.arrival }
  })
  const unserved: Route = { path, checkpoints: [], arrival: { kind: 'not-served' } }
  if (service.kind !== 'node-port') return [...toBackends, unserved]
  const own = { kind: 'end', owner: 'node', way: 'ingress', said, isFromWire: true } as const
  return [...toBackends, { path, checkpoints: [own], arrival: { kind: 'node' } }, unserved]
}

/** To itself, through this node's address: wherever it ends, nobody else hears of it. */
function errorOfHairpin(device: string): readonly Route[] {
  const path = 'error of a hairpin'
  const checkpoints = [{ kind: 'either', why: 'about itself' }] as const
  return [
    { path, checkpoints, arrival: { kind: 'pod', device } },
    { path, checkpoints, arrival: { kind: 'node' } },
    { path, checkpoints, arrival: { kind: 'not-served' } },
  ]
}

function errorFromPod(
  said: Said,
  quotes: Said,
  device: string,
  { cast, sessions }: Known,
): readonly Route[] | undefined {
  if (cast.podAt.get(said.source)?.device !== device) return undefined
  const ofProtocol = sessions.filter(({ service }) => service.protocol === quotes.protocol)
  const hairpin = ofProtocol.find(
    ({ lent, backend }) =>
      lent.some((each) => isAt(quotes, 'source', each)) && isAt(quotes, 'destination', backend),
  )
  if (hairpin) return errorOfHairpin(device)
  const session = ofProtocol.find(
    ({ client, backend, lent }) =>
      lent.length === 0 && isAt(quotes, 'source', client) && isAt(quotes, 'destination', backend),
  )
  if (!session || said.source !== session.backend.address) return undefined
  const sent: { readonly kind: 'end' } & Gate = { kind: 'end', owner: said.source, way: 'egress', said }
  if (!session.isFromPod) return [{ path: 'error of a backend → outside', ...LEFT, checkpoints: [sent] }]
  const turned = quoting(
    { ...routed(said), source: session.service.at.address },
    quotedTo(session.service.at),
  )
  const way = toPod(turned, cast)
  const checkpoints = [sent, ...way.checkpoints]
  return [{ path: 'error of a backend → client here', checkpoints, arrival: way.arrival }]
}
