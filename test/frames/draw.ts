// The next frame of a sequence: one that begins something, aimed at the edges of the world's rules; one that goes on with what was met; an
// error about it; and, of any of them, what a parser may stumble over.

import { type Address, type Family, familyOf } from '../../src/model/address.ts'
import type { PolicyPacket } from '../../src/model/policy.ts'
import { OUTSIDERS, PORTS } from '../policy/arbitrary/alphabet.ts'
import { aimProbes } from '../policy/arbitrary/probes.ts'
import type { Random } from '../policy/random.ts'
import { type Cast, OWN, type PodHere, SERVICE_ADDRESSES, serviceAt } from './cast.ts'
import { LENT_PORTS } from './gates.ts'
import type { Journey } from './journey.ts'
import { type Act, ERRORS, hasPorts, PINGS, type Said, type Step } from './said.ts'

/** A frame that was sent, and what it was in the end. */
export interface Met {
  readonly step: Step
  readonly journey: Journey
  readonly final: Said
}

const PROBES = 24
const TURNS_PERCENT = 6
const EPHEMERAL = { first: 32_768, count: 16_000 } as const
const ofFamily = (all: readonly string[], family: Family) =>
  (all as readonly Address[]).filter((each) => familyOf(each) === family)
const OUTSIDE = (family: Family) => ofFamily(OUTSIDERS, family)

const reversed = (said: Said): Said => ({
  ...said,
  source: said.destination,
  sourcePort: said.destinationPort,
  destination: said.source,
  destinationPort: said.sourcePort,
})

/** Not a group's, a broadcast's, or such as no stack sends to; and not of a node's other address, of which nothing is asked here. */
const isAnybodys = ({ source, destination }: PolicyPacket): boolean =>
  ![source, destination].some((each) => /^(0|127|22[4-9]|2[345]\d)\.|^ff|^::|^10\.255\./.test(each))

/** What is drawn of one frame is not of the next. */
function plain({ source, sourcePort, destination, destinationPort, protocol, act }: Said): Said {
  return { source, sourcePort, destination, destinationPort, protocol, act }
}

export class Drawer {
  readonly #cast: Cast
  readonly #random: Random
  readonly #probes: ReturnType<typeof aimProbes>
  #datagram = 0

  constructor(cast: Cast, random: Random) {
    this.#cast = cast
    this.#random = random
    this.#probes = aimProbes(cast.world, random, PROBES).filter(({ packet }) => isAnybodys(packet))
  }

  /** One step, or the two pieces of one. */
  draw(met: readonly Met[]): readonly Step[] {
    const past = this.#random.pick(met.slice(-4))
    const roll = this.#random.below(100)
    const step =
      (past && roll < 45 && this.#goOn(past, met)) ||
      (past && roll < 57 && this.#errorAbout(past)) ||
      (roll < 62 && this.#oddity()) ||
      (roll < 82 && this.#toService()) ||
      this.#begin()
    const [first, ...rest] = this.#spoiled(step)
    const turns = first !== undefined && met.length > 0 && this.#random.chance(TURNS_PERCENT)
    return turns ? [{ ...first, turns: true }, ...rest] : first ? [first, ...rest] : []
  }

  #pod(): PodHere {
    const pod = this.#random.pick(this.#cast.pods)
    if (!pod) throw new RangeError('a cast has pods')
    return pod
  }

  #sourcePort(): number {
    return EPHEMERAL.first + this.#random.below(EPHEMERAL.count)
  }

  /** From whom the source says, if it says the truth. */
  #fromWhom(source: Address): string {
    return this.#cast.podAt.get(source)?.device ?? (OWN[familyOf(source)] === source ? 'node' : 'wire')
  }

  #begin(): Step {
    const probe = this.#random.pick(this.#probes)
    if (!probe) return this.#toService()
    const { packet } = probe
    const source = packet.source as Address
    const { snat, masquerade } = LENT_PORTS
    const lentBy = packet.protocol === 'icmp' || this.#random.chance(50) ? masquerade : snat
    const lent = lentBy.first + this.#random.below(lentBy.last - lentBy.first + 1)
    const said: Said = {
      source,
      sourcePort: packet.isMasqueraded ? lent : this.#sourcePort(),
      destination: packet.destination as Address,
      destinationPort: packet.port,
      protocol: packet.protocol,
      act: this.#random.chance(85) ? 'begin' : 'go-on',
    }
    if (packet.isHairpin || packet.source === packet.destination) return this.#toService()
    // Who is not here lends its address to nobody but its node.
    const isOwnFromOutside = packet.isMasqueraded && OWN[familyOf(source)] === source
    return isOwnFromOutside ? this.#toService() : { from: this.#fromWhom(source), said }
  }

  #toService(): Step {
    const service = this.#random.pick(this.#cast.services)
    if (!service) return this.#pinging()
    const { family, at, protocol, kind, backends } = service
    const isHere = (address: Address) => this.#cast.podAt.has(address)
    const here = this.#cast.pods.flatMap(({ pod }) => ofFamily(pod.addresses, family))
    const elsewhere = [...OUTSIDE(family), ...ofFamily(this.#cast.podsElsewhere, family)]
    const isPods = here.length > 0 && (kind === 'cluster' || this.#random.chance(40))
    const hairpin = this.#random.chance(15) ? backends.find(({ address }) => isHere(address)) : undefined
    const source = hairpin?.address ?? this.#random.pick(isPods ? here : elsewhere) ?? OUTSIDE(family)[0]
    if (!source) throw new RangeError('somebody is outside')
    const said: Said = {
      ...{ source, sourcePort: this.#sourcePort(), destination: at.address, destinationPort: at.port },
      ...{ protocol, act: this.#random.chance(85) ? 'begin' : 'go-on' },
    }
    const from = this.#fromWhom(source)
    const node = this.#random.pick(this.#cast.otherNodes.filter((each) => each !== '10.255.0.2'))
    const chosen = this.#random.pick(backends.filter(({ address }) => isHere(address) && address !== source))
    const mayBeTunnelled = node && chosen && kind === 'vip'
    // What a pod here says may come back too, from the node that routers led it to.
    const isTunnelled = mayBeTunnelled && this.#random.chance(from === 'wire' ? 40 : 15)
    return isTunnelled ? { from: 'wire', said: { ...said, tunnel: { from: node, chosen } } } : { from, said }
  }

  #pinging(): Step {
    const { pod, device } = this.#pod()
    const source = this.#random.pick(pod.addresses as readonly Address[]) ?? OWN.ipv4
    const family = familyOf(source)
    const others = [...this.#cast.pods.flatMap((each) => each.pod.addresses), OWN[family], ...OUTSIDERS]
    const destination = this.#random.pick(ofFamily(others, family)) ?? source
    const type = this.#random.chance(80) ? PINGS[family].ask : PINGS[family].answer
    return { from: device, said: this.#icmp(source, destination, type) }
  }

  #icmp(source: Address, destination: Address, type: number): Said {
    return {
      ...{ source, sourcePort: this.#sourcePort(), destination, destinationPort: type },
      ...{ protocol: 'icmp', act: 'begin' },
    }
  }

  /** Its pod's device balances all that it lets pass, and has seen nothing of it: no more than this can be said of that connection. */
  #isLedBack({ said: { tunnel, source } }: Step): boolean {
    return tunnel !== undefined && this.#cast.podAt.has(source)
  }

  /** The other side answers, or the same one goes on, or begins again. */
  #goOn({ step, journey, final }: Met, met: readonly Met[]): Step | undefined {
    const drawn =
      this.#random.pick(['answer', 'go-on', 'go-on', 'reset', 'close', 'begin'] as const) ?? 'go-on'
    // Where a connection has ended, what a server accepts is another one, past the Service.
    const hasEnded = met.some(({ step: { said } }) => said.act === 'reset' || said.act === 'close')
    // One that its pod begins anew may be led to another backend, while the one before still answers.
    const mayMove = step.from !== 'wire' && (serviceAt(this.#cast, step.said)?.backends.length ?? 0) > 1
    const isUnclear = (drawn === 'answer' && hasEnded) || (drawn === 'begin' && mayMove)
    const act = isUnclear ? 'go-on' : drawn
    const { end } = journey
    const isLost = end.kind === 'dropped' || end.kind === 'nowhere'
    if (this.#random.chance(35) || isLost || this.#isLedBack(step)) {
      const { tunnel } = step.said
      if (step.said.quotes) return undefined
      return { from: step.from, said: { ...plain(step.said), act, ...(tunnel && { tunnel }) } }
    }
    if (
      final.protocol === 'other' ||
      final.destination.startsWith('ff') ||
      journey.seen?.isTunnelled ||
      final.quotes
    )
      return undefined
    const from = end.kind === 'pod' ? end.device : end.kind === 'node' ? 'node' : 'wire'
    if (final.protocol === 'icmp') return { from, said: this.#pong(final) }
    return { from, said: { ...reversed(plain(final)), act: act === 'begin' ? 'go-on' : act } }
  }

  #pong(final: Said): Said {
    const { ask, answer } = PINGS[familyOf(final.source)]
    const isAsked = final.destinationPort === ask
    return {
      ...plain(final),
      ...{ source: final.destination, destination: final.source },
      destinationPort: isAsked ? answer : ask,
    }
  }

  /** From who got it, or from a router on its way. */
  #errorAbout({ step, journey, final }: Met): Step | undefined {
    const { end } = journey
    const isLost = end.kind === 'dropped' || end.kind === 'nowhere'
    if (isLost || journey.seen?.isTunnelled || !hasPorts(final) || this.#isLedBack(step)) return undefined
    const family = familyOf(final.source)
    const type = this.#random.pick(ERRORS[family]) ?? 3
    const unknown = this.#random.chance(50)
      ? { sourcePort: this.#sourcePort() }
      : { destinationPort: this.#sourcePort() }
    const quotes = plain(this.#random.chance(80) ? final : { ...final, ...unknown })
    const isRouters = end.kind === 'left' && this.#random.chance(50)
    const source = isRouters ? this.#random.pick(OUTSIDE(family)) : final.destination
    const from = end.kind === 'pod' ? end.device : end.kind === 'node' ? 'node' : 'wire'
    // About a connection of others, at times.
    const victim = this.#random.chance(10)
      ? this.#random.pick(this.#pod().pod.addresses as readonly Address[])
      : undefined
    const destination = victim && familyOf(victim) === family ? victim : final.source
    if (!source || step.said.quotes) return undefined
    const liar = this.#random.chance(15) ? this.#pod() : undefined
    const lying = liar && ofFamily(liar.pod.addresses, family)[0]
    // As if it were a router on the way of others.
    if (liar && lying) return { from: liar.device, said: { ...this.#icmp(lying, destination, type), quotes } }
    return { from, said: { ...this.#icmp(source, destination, type), quotes } }
  }

  #oddity(): Step {
    const { pod, device } = this.#pod()
    const source = this.#random.pick(pod.addresses as readonly Address[]) ?? OWN.ipv4
    const family = familyOf(source)
    const roll = this.#random.below(5)
    if (roll === 0) return this.#pinging()
    if (roll === 1 && family === 'ipv6') return this.#discovery(source, device)
    if (roll === 2) return this.#forgedFromWire(source, family)
    if (roll === 3) return this.#toNoService(source, device, family)
    return this.#forgedByPod(device, family)
  }

  #discovery(source: Address, device: string): Step {
    const peers = this.#cast.pods.flatMap((each) => ofFamily(each.pod.addresses, 'ipv6'))
    const to = ['ff02::1:ff00:1', ...peers, ...OUTSIDE('ipv6'), OWN.ipv6] as Address[]
    const said = this.#icmp(source, this.#random.pick(to) ?? OWN.ipv6, 135 + this.#random.below(2))
    const isForged = this.#random.chance(20)
    const from = isForged && !this.#cast.podAt.has(said.destination) ? this.#pod().device : device
    return { from, said: { ...said, hops: this.#random.chance(80) ? 255 : 64 } }
  }

  #forgedFromWire(source: Address, family: Family): Step {
    const others = this.#cast.pods.flatMap((each) => ofFamily(each.pod.addresses, family))
    const destination = this.#random.pick(others.filter((each) => each !== source))
    const protocol = this.#random.pick(['tcp', 'udp', 'sctp'] as const) ?? 'tcp'
    if (!destination) return this.#toService()
    return { from: 'wire', said: this.#toPort(source, destination, protocol, 'begin') }
  }

  #forgedByPod(device: string, family: Family): Step {
    const all = [
      ...this.#cast.pods.filter((each) => each.device !== device).flatMap(({ pod }) => pod.addresses),
      ...this.#cast.podsElsewhere,
      ...OUTSIDE(family),
      ...SERVICE_ADDRESSES,
      OWN[family],
    ]
    const source = this.#random.pick(ofFamily(all, family)) ?? OWN[family]
    const others = [...this.#cast.pods.flatMap(({ pod }) => pod.addresses), ...OUTSIDE(family), OWN[family]]
    const destination = this.#random.pick(ofFamily(others, family).filter((each) => each !== source))
    const protocol = this.#random.pick(['tcp', 'udp', 'sctp'] as const) ?? 'tcp'
    return { from: device, said: this.#toPort(source, destination ?? OWN[family], protocol, 'begin') }
  }

  #toNoService(source: Address, device: string, family: Family): Step {
    const address = this.#random.pick(ofFamily(SERVICE_ADDRESSES, family)) ?? source
    const isPods = this.#random.chance(60)
    const from = isPods ? source : (OUTSIDE(family)[0] ?? source)
    const said = this.#random.chance(50)
      ? this.#icmp(from, address, PINGS[family].ask)
      : this.#toPort(from, address, 'udp', 'begin')
    return { from: isPods ? device : 'wire', said }
  }

  #toPort(source: Address, destination: Address, protocol: 'tcp' | 'udp' | 'sctp', act: Act): Said {
    const destinationPort = this.#random.pick(PORTS) ?? 80
    return { source, sourcePort: this.#sourcePort(), destination, destinationPort, protocol, act }
  }

  /** In one of ten something is done to it that a parser may stumble over. */
  #spoiled(step: Step): readonly Step[] {
    const { said } = step
    const isIpv6 = familyOf(said.source) === 'ipv6'
    if (said.quotes || said.tunnel || said.hops || !this.#random.chance(14)) return [step]
    const change = (more: Partial<Said>): Step => ({ ...step, said: { ...said, ...more } })
    switch (this.#random.below(6)) {
      case 0:
        return step.from === 'node' ? [step] : [change({ tag: this.#random.pick([0, 7]) ?? 0 })]
      case 1:
        return isIpv6 ? [change({ hides: 'extension' })] : [change({ isAdorned: true })]
      case 2:
        return hasPorts(said) ? [change({ hides: 'truncated' })] : [step]
      case 3:
        return [change({ isAdorned: true })]
      default:
        return this.#inPieces(change)
    }
  }

  #inPieces(change: (more: Partial<Said>) => Step): readonly Step[] {
    const datagram = this.#datagram
    this.#datagram += 1
    const first = change({ piece: { datagram, which: 'first' } })
    const later = change({ piece: { datagram, which: 'later' } })
    const roll = this.#random.below(3)
    if (roll === 0) return [first, later]
    return roll === 1 ? [later, first, later] : [later]
  }
}
