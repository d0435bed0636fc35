// Routing from what is served to what the speaker is told, with a speaker that only listens and a clock of the test: the first word after a
// start, another routing while it runs, the pace, kinds of addresses, and the Events of what may not leave.

import t, { type Test } from 'tap'
import { Routing, type RoutingOptions } from '../../../src/agent/routing.ts'
import type { ServedService } from '../../../src/agent/service-loop.ts'
import { address, FAMILIES, type Family } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import {
  DEFAULT_RULES,
  DRAIN_DEFAULT,
  GATES_DEFAULT,
  LIMITS_DEFAULT,
  type NodeRouting,
} from '../../../src/model/routing.ts'
import { objectKey, type Service } from '../../../src/model/service.ts'
import type { Speaker } from '../../../src/speaker/speaker.ts'
import { serviceRow } from '../model/rows.ts'
import { announcing, attributes, cidr, peer, rule } from '../routing/beds.ts'

const POOL = { name: 'default', prefixes: [cidr('203.0.113.0/24')] }
const ROUTING: NodeRouting = {
  asn: 65_101,
  routerId: '10.255.0.1',
  loopbacks: [cidr('10.255.0.1/32')],
  podCidrs: [cidr('10.244.1.0/24')],
  peers: [peer('tor1'), peer('tor2')],
  rules: DEFAULT_RULES,
  serviceNetworks: [],
  limits: LIMITS_DEFAULT,
  bmp: [],
  gates: GATES_DEFAULT,
  drain: DRAIN_DEFAULT,
}

const TWO = { anywhere: 2, here: 1 }

function served(index: number, overrides: Partial<Service> = {}): ServedService {
  const service = serviceRow({
    key: objectKey('shop', `s${index}`),
    clusterIps: [address(`10.96.0.${index}`)],
    loadBalancerIps: [address(`203.0.113.${index}`)],
    ...overrides,
  })
  const held = [...service.clusterIps, ...service.loadBalancerIps, ...service.externalIps]
  return { service, held, usable: TWO, servable: { ipv4: TWO, ipv6: TWO }, problems: [], foundRoom: true }
}

class Bed {
  /** What the speaker holds; undefined: it was told nothing yet. */
  told: Map<string, Announcement> | undefined
  /** How often it was told something. */
  times = 0
  allowed: readonly string[] = []
  /** What it held as soon as it had each routing. */
  readonly withRouting: string[][] = []
  nowMs = 0
  families: ReadonlySet<Family> = new Set(FAMILIES)
  readonly events: string[] = []
  readonly routing: Routing

  constructor(t: Test, said?: RoutingOptions['said'] & object) {
    const changeDesired: Speaker['changeDesired'] = (changes) => {
      this.told ??= new Map()
      this.times += 1
      for (const [asker, row] of changes) {
        if (row) this.told.set(asker, row)
        else this.told.delete(asker)
      }
    }
    const speaker: Speaker = {
      setRouting: (_, allowed, changes = new Map()) => {
        this.allowed = allowed.map(({ prefix }) => prefix)
        changeDesired(changes)
        this.withRouting.push(this.prefixes)
      },
      passwordsChanged: () => {},
      setDrain: () => {},
      setDesired: () => {},
      changeDesired,
      isInForce: true,
      tables: { received: async () => [], advertised: async () => [], daemon: async () => undefined },
      status: async () => ({
        connected: true,
        sessions: [],
        announcements: [...(this.told ?? new Map()).values()].map((row) => ({
          ...row,
          status: { kind: 'announced', sinceMs: 0 },
        })),
        refused: [],
        problems: [],
        error: undefined,
      }),
      close: async () => {},
    } as Speaker
    this.routing = new Routing({
      speaker,
      log: { warn: () => {}, error: () => {} },
      events: { record: ({ name }, _type, reason) => void this.events.push(`${name} ${reason}`) },
      served: () => this.families,
      node: () => undefined,
      nowMs: () => this.nowMs,
      ...(said === undefined ? {} : { said }),
    })
    t.teardown(() => this.routing.close())
  }

  async serve(...services: readonly ServedService[]): Promise<void> {
    await this.routing.update(new Map(services.map((one) => [one.service.key, one])))
  }

  /** Lets what setRouting asked for happen. */
  async settle(): Promise<void> {
    await this.routing.update(new Map())
  }

  async wait(ms: number): Promise<void> {
    this.nowMs += ms
    await this.settle()
  }

  get prefixes(): string[] {
    return [...(this.told ?? new Map()).keys()].sort()
  }
}

const OWN = ['10.244.1.0/24', '10.255.0.1/32']

t.test('nothing is told before both are known: what is served, and what the node should do', async (t) => {
  const bed = new Bed(t)
  await bed.serve(served(1))
  t.equal(bed.told, undefined, 'an empty word would withdraw what gobgpd holds')
  bed.routing.setRouting(ROUTING, [POOL])
  await bed.settle()
  t.same(bed.prefixes, [...OWN, '203.0.113.1/32'])
  const other = new Bed(t)
  other.routing.setRouting(ROUTING, [POOL])
  other.routing.setDrained(false)
  t.equal(other.told, undefined, 'the other way round')
  await other.serve(served(1))
  t.same(other.prefixes, [...OWN, '203.0.113.1/32'])
  t.equal(other.times, 1, 'all at once')
})

t.test('another routing: rules, kinds and pools, without a restart', async (t) => {
  const bed = new Bed(t)
  bed.routing.setRouting(ROUTING, [POOL])
  await bed.serve(served(1), served(2, { labels: { tier: 'gold' } }))
  const gold = { requirements: [{ key: 'tier', operator: 'In', values: ['gold'] }] } as const
  const clusterIps = {
    ...ROUTING,
    rules: [rule({ kinds: ['cluster-ip'], services: gold, peers: ['tor2'] }), rule({ kinds: ['loopback'] })],
    serviceNetworks: [cidr('10.96.0.0/16')],
  }
  bed.routing.setRouting(clusterIps, [POOL])
  await bed.settle()
  t.same(
    bed.prefixes,
    ['10.255.0.1/32', '10.96.0.2/32'],
    'one ClusterIP by its labels, VIPs and pods no more',
  )
  t.same(bed.told?.get('10.96.0.2/32')?.exports?.[0]?.peers, ['tor2'])
  bed.routing.setRouting({ ...clusterIps, serviceNetworks: [] }, [POOL])
  await bed.settle()
  t.same(bed.prefixes, ['10.255.0.1/32'], 'the guard was narrowed')
  await bed.wait(2_000)
  t.ok(bed.events.includes('s2 AnnouncementRefused'), 'and its Service told')
  bed.routing.setRouting(ROUTING, [{ ...POOL, prefixes: [cidr('203.0.113.2/31')] }])
  await bed.settle()
  t.same(bed.prefixes, [...OWN, '203.0.113.2/32'])
  t.same(bed.allowed, [...OWN.reverse(), '203.0.113.2/31'])
})

t.test('a routing that is taken back leaves no word of what it asked for', async (t) => {
  const bed = new Bed(t)
  bed.routing.setRouting(ROUTING, [POOL])
  const other = { name: 'other', prefixes: [cidr('198.51.100.0/24')] }
  await bed.serve(served(1), served(2))
  bed.routing.setRouting(
    {
      ...ROUTING,
      rules: [...ROUTING.rules, rule({ kinds: ['cluster-ip'] })],
      serviceNetworks: [cidr('10.96.0.0/16')],
    },
    [POOL, other],
  )
  await bed.serve(served(2, { loadBalancerIps: [address('198.51.100.2')] }))
  await bed.wait(10_000)
  t.ok(bed.prefixes.includes('10.96.0.1/32') && bed.prefixes.includes('198.51.100.2/32'))
  bed.routing.setRouting(ROUTING, [POOL])
  await bed.settle()
  t.same(bed.prefixes, [...OWN, '203.0.113.1/32'].sort(), 'it leaves at once')
  await bed.serve(served(2))
  await bed.wait(10_000)
  t.same(bed.prefixes, [...OWN, '203.0.113.1/32', '203.0.113.2/32'].sort())
  t.same(bed.events, [], 'a rolled-back trial is no fault of any Service')
})

t.test('an address that stays outside every pool is told of in the end', async (t) => {
  const bed = new Bed(t)
  const anywhere = { ...ROUTING, rules: [rule({ kinds: ['load-balancer-ip'] })] }
  bed.routing.setRouting(anywhere, [POOL])
  await bed.serve(served(1), served(2))
  bed.routing.setRouting(anywhere, [{ ...POOL, prefixes: [cidr('203.0.113.2/31')] }])
  await bed.settle()
  t.same(bed.events, [])
  await bed.wait(2_000)
  t.same(bed.events, ['s1 AnnouncementRefused'])
  bed.routing.setRouting(anywhere, [POOL])
  await bed.wait(2_000)
  bed.routing.setRouting(anywhere, [{ ...POOL, prefixes: [cidr('203.0.113.2/31')] }])
  await bed.wait(2_000)
  t.same(bed.events, ['s1 AnnouncementRefused', 's1 AnnouncementRefused'], 'and again where it is so again')
})

t.test('a routing that would allow everything is refused, and the one before stays', async (t) => {
  const bed = new Bed(t)
  bed.routing.setRouting(ROUTING, [POOL])
  await bed.serve(served(1))
  bed.routing.setRouting({ ...ROUTING, podCidrs: [cidr('0.0.0.0/0')] }, [POOL])
  await bed.settle()
  t.equal(bed.prefixes.length, 3)
  t.match((await bed.routing.status()).refusedRouting, /would allow every address.*stays in force/)
  bed.routing.setRouting(ROUTING, [POOL])
  t.equal((await bed.routing.status()).refusedRouting, undefined)
})

t.test('a ClusterIP whose Service asks for it, by internalTrafficPolicy', async (t) => {
  const bed = new Bed(t)
  bed.routing.setRouting({ ...ROUTING, serviceNetworks: [cidr('10.96.0.0/16')] }, [POOL])
  const asks = { announcing: announcing({ advertise: { 'cluster-ip': true } }), loadBalancerIps: [] }
  const none = { anywhere: 2, here: 0 }
  const elsewhere = {
    ...served(2, { ...asks, internalTrafficPolicy: 'Local' }),
    servable: { ipv4: none, ipv6: none },
  }
  await bed.serve(served(1, asks), elsewhere)
  t.same(bed.prefixes, [...OWN.sort(), '10.96.0.1/32'].sort())
})

t.test('changes take their turn, and say so; what cannot be served does not wait', async (t) => {
  const bed = new Bed(t)
  const slow = { ...ROUTING, limits: { announcementsMax: 1000, changesPerSecond: 1 } }
  bed.routing.setRouting(slow, [POOL])
  await bed.serve(...Array.from({ length: 30 }, (_, index) => served(index + 1)))
  t.equal(bed.prefixes.length, 32, 'the first word is no change')
  await bed.serve(...Array.from({ length: 15 }, (_, index) => served(index + 101)))
  t.equal(bed.prefixes.length, 42, 'a burst of ten')
  const { waiting, announcements } = await bed.routing.status()
  t.equal(waiting.length, 5)
  t.match(waiting[0], { change: 'announce', reason: /1 changes a second/ })
  t.equal(announcements.filter(({ status }) => status.kind === 'pending').length, 5)
  t.match((await bed.routing.why('203.0.113.115'))?.summary, /waits for its turn/)
  bed.families = new Set()
  await bed.settle()
  t.same(bed.prefixes, [...OWN].sort(), 'no way out: everything leaves at once')
  t.equal((await bed.routing.status()).waiting.length, 0)
})

t.test(
  'attributes that cannot be read: what was said before stays, and without that nothing leaves',
  async (t) => {
    const bed = new Bed(t)
    bed.routing.setRouting(ROUTING, [POOL])
    const bad = announcing({
      unreadable:
        "annotation weir.network/bgp-communities 'no-exprt' is no community (did you mean 'no-export'?)",
    })
    const noExport = announcing({ attributes: attributes({ communities: ['65535:65281'] }) })
    await bed.serve(served(1, { announcing: noExport }), served(2, { announcing: bad }), served(3))
    t.same(bed.prefixes, [...OWN, '203.0.113.1/32', '203.0.113.3/32'].sort(), 'one that never was readable')
    t.ok(bed.events.includes('s2 AnnouncementRefused'))
    t.match(await bed.routing.status(), {
      refused: [
        {
          code: 'bad-annotation',
          reason: /203.0.113.2\/32 .* Service shop\/s2 .*no-exprt.*did you mean 'no-export'/,
        },
      ],
    })
    const why = await bed.routing.why('203.0.113.2')
    t.match(why?.summary, /is not announced: .*bgp-communities 'no-exprt'/)
    t.match(
      why?.checks.find(({ check }) => check === 'annotations of shop/s2'),
      { isOpen: false, mend: /write the annotation/ },
    )

    await bed.serve(served(1, { announcing: bad }), served(3, { announcing: bad }))
    const carried = (prefix: string) => bed.told?.get(prefix)?.exports?.[0]?.attributes.communities
    t.same(carried('203.0.113.1/32'), ['65535:65281'], 'it is still told to nobody else')
    t.same(carried('203.0.113.3/32'), [], 'what was for everybody is')
    t.match(
      (await bed.routing.why('203.0.113.1'))?.checks.find(({ check }) => check === 'annotations of shop/s1'),
      { isOpen: true, detail: /no-exprt.*stays in force/ },
    )
    // Two Services of one VIP: what one of them asks for must not be lost by way of the other.
    await bed.serve(served(4, { announcing: bad, loadBalancerIps: [address('203.0.113.3')] }))
    t.notOk(bed.prefixes.includes('203.0.113.3/32'))
    await bed.serve(
      served(2, { announcing: noExport }),
      served(4, { loadBalancerIps: [address('203.0.113.3')] }),
    )
    t.same(carried('203.0.113.2/32'), ['65535:65281'], 'mended')
    t.ok(bed.prefixes.includes('203.0.113.3/32'))
  },
)

t.test(
  'another routing comes to the speaker with the plan made under it, however many updates are under way',
  async (t) => {
    const bed = new Bed(t)
    bed.routing.setRouting(ROUTING, [POOL])
    await bed.serve(...Array.from({ length: 200 }, (_, index) => served(index + 1)))
    const { times } = bed
    // 600 of them are planned in slices; the routing changes in the middle.
    const many = Array.from({ length: 600 }, (_, index) =>
      served(index % 200, { key: objectKey('shop', `m${index}`) }),
    )
    const update = bed.serve(...many)
    await Promise.resolve()
    bed.routing.setRouting({ ...ROUTING, rules: [rule({ kinds: ['loopback'], peers: ['tor2'] })] }, [POOL])
    await update
    await bed.settle()
    t.same(bed.prefixes, ['10.255.0.1/32'])
    t.ok(bed.times - times <= 3)
    t.same(bed.withRouting.at(-1), ['10.255.0.1/32'], 'not for a moment more')
    t.equal(bed.withRouting.length, 2)
  },
)

t.test('an agent that is started while an annotation cannot be read withdraws nothing', async (t) => {
  const kept: string[] = []
  const NO_EXPORT = announcing({ attributes: attributes({ communities: ['65535:65281'] }) })
  const bed = new Bed(t, {
    recall: () => ({ uid: 'uid-web', announcing: NO_EXPORT }),
    keep: (key, service) => void kept.push(`${key} ${service?.announcing?.overruled}`),
    close: () => {},
  })
  bed.routing.setRouting(ROUTING, [POOL])
  await bed.serve(served(1, { announcing: announcing({ unreadable: 'a slip' }) }))
  const [told] = bed.told?.get('203.0.113.1/32')?.exports ?? []
  t.same(told?.attributes.communities, ['65535:65281'])
  await bed.routing.update(new Map([[objectKey('shop', 's1'), undefined]]))
  t.same(kept, ['shop/s1 a slip', 'shop/s1 undefined'])
})

t.test('an address of a pod is answered by its network, a prefix by itself', async (t) => {
  const bed = new Bed(t)
  const podCidrs = [cidr('10.244.0.0/16'), cidr('10.244.1.0/24')]
  bed.routing.setRouting({ ...ROUTING, podCidrs }, [POOL])
  await bed.serve(served(1, { loadBalancerIps: [address('10.244.1.9')] }))
  const [pod, other, vip, part] = await Promise.all(
    ['10.244.1.7', '10.244.2.7', '10.244.1.9', '10.244.1.0/25'].map((text) => bed.routing.why(text)),
  )
  t.match(pod, {
    ...{ prefix: '10.244.1.0/24', asked: '10.244.1.7', isAnnounced: true },
    summary: '10.244.1.7 is in 10.244.1.0/24. 10.244.1.0/24 is announced: it is of the node itself',
  })
  t.same(
    pod?.peers.map(({ peer }) => peer),
    ['tor1', 'tor2'],
  )
  t.equal(other?.prefix, '10.244.0.0/16', 'the longest that holds it')
  t.match(vip, { prefix: '10.244.1.9/32', summary: /s1|pool/ }, 'an address of a Service stands for itself')
  t.match(part, { prefix: '10.244.1.0/25', isAnnounced: false })
  t.equal(part?.asked, undefined)
})

t.test('what is not ours to answer', async (t) => {
  const bed = new Bed(t)
  bed.routing.setRouting(ROUTING, [POOL])
  t.equal(await bed.routing.why('nonsense'), undefined)
  t.match(await bed.routing.why('192.0.2.1'), {
    isAnnounced: false,
    summary: /no Service of this node has 192/,
  })
  t.match(await bed.routing.why('192.0.2.0/24'), { isAnnounced: false })
})
