// One sequence of frames through a node, each held against what may pass. A difference is told as a Finding; what is seen goes on to whoever
// draws the next step.

import type { PolicyWorld } from '../../src/model/policy.ts'
import type { Cast } from './cast.ts'
import { Gates, type Ruling, type Verdict } from './gates.ts'
import type { End, Journey } from './journey.ts'
import type { Arrival, Checkpoint, Route, Session } from './route.ts'
import { routesOf } from './routes.ts'
import { hasPorts, type Said, type Step } from './said.ts'

export interface Finding {
  /** The worst first: `passes` what is forbidden; or `dropped` what is allowed; or `astray`. */
  readonly kind: 'passes' | 'dropped' | 'astray'
  readonly text: string
}

export interface Expected {
  readonly route: Route
  readonly verdict: Verdict
  readonly rulings: readonly Ruling[]
}

export interface Judged {
  readonly expected: readonly Expected[]
  readonly finding: Finding | undefined
}

const isSameArrival = (arrival: Arrival, end: End): boolean =>
  arrival.kind === end.kind && (arrival.kind !== 'pod' || end.kind !== 'pod' || arrival.device === end.device)

const verdictOf = (rulings: readonly Ruling[]): Verdict => {
  if (rulings.some(({ verdict }) => verdict === 'drop')) return 'drop'
  return rulings.some(({ verdict }) => verdict === 'either') ? 'either' : 'pass'
}

const textOf = ({ route, verdict, rulings }: Expected) =>
  `${route.path}: ${verdict} (${rulings.map(({ why }) => why).join('; ') || 'nobody is asked'})`

/** Where several backends are elsewhere, the one that it shows. */
function takenTo(expected: readonly Expected[], { end, seen }: Journey): Expected | undefined {
  const taken = expected.filter(({ route }) => isSameArrival(route.arrival, end))
  return taken.find(({ route }) => route.session?.backend.address === seen?.destination) ?? taken[0]
}

const isLedBack = ({ session }: Route): boolean =>
  session !== undefined && session.client.address === session.backend.address

/** Which of the ways that it might have taken it was on: the Service had chosen already, or did not come to that. */
function stoppedOn(expected: readonly Expected[], { seen, end }: Journey): readonly Expected[] {
  if (expected.length < 2) return expected
  const chosen = expected.filter(({ route }) => route.session?.backend.address === seen?.destination)
  if (chosen.length > 0) return chosen
  // A pod's second end is met at its own device.
  const isAtFirstEnd = end.kind === 'dropped' && end.by.startsWith('tc ingress of p')
  return expected.filter(({ route, verdict, rulings: [first] }) => {
    const isLater = first?.verdict === 'pass' && !isLedBack(route)
    return verdict !== 'pass' && !(isAtFirstEnd && isLater)
  })
}

export const textOfAll = (expected: readonly Expected[]): string => expected.map(textOf).join(' | ')

export class Referee {
  readonly #cast: Cast
  readonly #gates: Gates
  #sessions: readonly Session[] = []

  constructor(cast: Cast) {
    this.#cast = cast
    this.#gates = new Gates(cast)
  }

  /** Other policies are in force. */
  turn(world: PolicyWorld): void {
    this.#gates.turn(world)
  }

  /** Before the frame travels. */
  expect(step: Step): readonly Expected[] {
    this.#gates.meet(step.said)
    const routes = routesOf(step, {
      cast: this.#cast,
      sessions: this.#sessions,
      hidesPorts: (said) => this.#gates.hidesPorts(said),
      isNodeSelected: () => this.#gates.isNodeSelected(),
      knows: (gate) => this.#gates.knows(gate),
    })
    return routes.map((route) => {
      const rulings = this.#rulingsOf(route.checkpoints)
      return { route, rulings, verdict: verdictOf(rulings) }
    })
  }

  /** What came of it; and what the ends know from now on. */
  settle(step: Step, expected: readonly Expected[], journey: Journey): Judged {
    const finding = this.#compare(step, expected, journey)
    const taken = takenTo(expected, journey)
    if (taken) this.#learn(step.said, taken, journey, true)
    else for (const one of stoppedOn(expected, journey)) this.#learn(step.said, one, journey, false)
    return { expected, finding }
  }

  /** An answer passes the ends behind it unasked: the node's own, for what it began. */
  #rulingsOf(checkpoints: readonly Checkpoint[]): readonly Ruling[] {
    const rulings: Ruling[] = []
    for (const checkpoint of checkpoints) {
      if (checkpoint.kind !== 'end') {
        rulings.push({ verdict: checkpoint.kind, why: checkpoint.why })
        continue
      }
      const isToNode = checkpoint.owner === 'node' && checkpoint.way === 'ingress'
      if (isToNode && rulings.some(({ isAnswer }) => isAnswer))
        rulings.push({ verdict: 'pass', why: 'answers what the node began' })
      else rulings.push(this.#gates.rule(checkpoint))
    }
    return rulings
  }

  #compare({ from }: Step, expected: readonly Expected[], { end, met }: Journey): Finding | undefined {
    const told = `${textOfAll(expected)}\nmet ${met.join(', ')}; in the end: ${JSON.stringify(end)}`
    const isBack = end.kind === 'pod' && end.device === from
    const isNowhere = end.kind === 'dropped' || end.kind === 'nowhere'
    const mayBeUnserved = expected.some(({ route }) => route.arrival.kind === 'not-served')
    if (isNowhere) {
      const isLost = !mayBeUnserved && expected.every(({ verdict }) => verdict === 'pass')
      return isLost ? { kind: 'dropped', text: told } : undefined
    }
    const onWay = expected.filter(({ route }) => isSameArrival(route.arrival, end))
    if (onWay.length > 0)
      return onWay.every(({ verdict }) => verdict === 'drop') ? { kind: 'passes', text: told } : undefined
    if (mayBeUnserved && expected.every(({ verdict }) => verdict === 'drop'))
      return { kind: 'passes', text: told }
    if (mayBeUnserved && (isBack || end.kind === 'left')) return undefined
    const isForbidden = expected.every(({ verdict }) => verdict === 'drop')
    return { kind: isForbidden ? 'passes' : 'astray', text: told }
  }

  #learn(said: Said, { route, rulings }: Expected, journey: Journey, hasPassed: boolean): void {
    // Who is led back to itself is asked for both directions at once.
    if (isLedBack(route) && !hasPassed) return
    let isSure = true
    let fresh: Ruling | undefined
    for (const [index, ruling] of rulings.entries()) {
      const checkpoint = route.checkpoints[index]
      if (ruling.verdict === 'drop' && !hasPassed) {
        // What the node does not take, its pod has not begun.
        const isNode = checkpoint?.kind === 'end' && checkpoint.owner === 'node'
        if (isNode && fresh?.remembers) this.#gates.forget(fresh.remembers)
        return
      }
      if (ruling.verdict === 'either' && !hasPassed) isSure = false
      if (ruling.remembers && isSure) this.#gates.remember(ruling.remembers)
      if (ruling.remembers && !isSure) this.#gates.blur(ruling.remembers)
      if (ruling.remembers) fresh = ruling
      if (ruling.remembers && index === 0 && said.act === 'begin') this.#endAnswered(said)
      if (route.session && index === 0) this.#hold(said, route.session, journey)
    }
    if (route.session && rulings.length === 0) this.#hold(said, route.session, journey)
  }

  /** A backend that begins a connection with its client's own port answers the Service's no longer. */
  #endAnswered({ source, sourcePort, destination, destinationPort, protocol }: Said): void {
    const isIts = ({ service, client, backend }: Session) =>
      protocol !== 'udp' &&
      service.protocol === protocol &&
      backend.address === source &&
      backend.port === sourcePort &&
      client.address === destination &&
      client.port === destinationPort
    this.#sessions = this.#sessions.map((each) => (isIts(each) ? { ...each, isUnanswered: true } : each))
  }

  #hold(said: Said, session: Session, { seen }: Journey): void {
    if (!hasPorts(said)) return
    const isOwn = seen !== undefined && (seen.source === '192.168.0.1' || seen.source === 'fd01::1')
    const lent =
      isOwn && !seen.isTunnelled && seen.sourcePort !== undefined
        ? [{ address: seen.source, port: seen.sourcePort }]
        : []
    const isSameClient = ({ service, client }: Session) =>
      service === session.service &&
      client.address === session.client.address &&
      client.port === session.client.port
    const isSame = (each: Session) => isSameClient(each) && each.backend.address === session.backend.address
    const before = this.#sessions.find(isSame)
    const held = { ...session, lent: [...(before?.lent ?? []), ...lent] }
    // What was lent is answered as long as anybody goes on with it.
    const isReplaced = (each: Session) => isSame(each) || (isSameClient(each) && each.lent.length === 0)
    this.#sessions = [held, ...this.#sessions.filter((each) => !isReplaced(each))]
  }
}
