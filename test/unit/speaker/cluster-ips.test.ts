// ClusterIPs in real routers' tables: of Services that a rule selects, and of those that ask for it with kube-router's annotation; of no
// others, and none outside the networks that may be announced. From the Kubernetes object to BIRD and FRR.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Routing } from '../../../src/agent/routing.ts'
import type { ServedService } from '../../../src/agent/service-loop.ts'
import { toService } from '../../../src/kube/to-model.ts'
import { FAMILIES } from '../../../src/model/address.ts'
import { NO_ATTRIBUTES, type NodeRouting } from '../../../src/model/routing.ts'
import { oneSession, until } from '../bgp/bed.ts'
import { rule } from '../routing/beds.ts'
import { cidr } from './bed.ts'
import { BIRD, bothRouters, FRR, peer, TwoRouters, untilUp } from './two-routers.ts'

const TWO = { anywhere: 2, here: 1 }

/** A Service of type ClusterIP as the API server has it, served by this node. */
function served(
  name: string,
  clusterIP: string,
  more: { labels?: Record<string, string>; annotations?: Record<string, string> } = {},
): ServedService {
  const service = toService({
    metadata: { namespace: 'shop', name, ...more },
    spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ port: 80 }] },
  })
  if (!service) throw new Error(`${name} is no Service of ours`)
  return {
    service,
    held: service.clusterIps,
    usable: TWO,
    servable: { ipv4: TWO, ipv6: TWO },
    problems: [],
    foundRoom: true,
  }
}

const asks = (value: string) => ({ annotations: { 'kube-router.io/service.advertise.clusterip': value } })
const SERVICES = {
  selected: served('selected', '10.96.0.1', { labels: { tier: 'gold' } }),
  other: served('other', '10.96.0.2', { labels: { tier: 'lead' } }),
  asking: served('asking', '10.96.0.3', asks('true')),
  refusing: served('refusing', '10.96.0.4', { labels: { tier: 'gold' }, ...asks('false') }),
  outside: served('outside', '10.97.0.5', asks('true')),
}
const gold = { requirements: [{ key: 'tier', operator: 'In', values: ['gold'] }] } as const

t.test('ClusterIPs at BIRD and FRR', async (t) => {
  const bed = new TwoRouters(t)
  await bed.addRouter(BIRD, oneSession(BIRD))
  await bed.addFrr()
  bed.startSupervisor(bed.node)
  const speaker = bed.speak()
  const events: string[] = []
  const routing = new Routing({
    speaker,
    log: { warn: () => {}, error: () => {} },
    events: { record: ({ name }, _type, reason) => void events.push(`${name} ${reason}`) },
    served: () => new Set(FAMILIES),
    node: () => undefined,
  })
  t.teardown(() => routing.close())
  const config: NodeRouting = bothRouters({
    loopbacks: [cidr('10.255.0.1/32')],
    serviceNetworks: [cidr('10.96.0.0/16')],
    rules: [
      rule({ kinds: ['loopback'] }),
      rule({
        kinds: ['cluster-ip'],
        services: gold,
        attributes: { ...NO_ATTRIBUTES, communities: ['65101:96'] },
      }),
    ],
  })
  routing.setRouting(config, [])
  await routing.update(new Map(Object.values(SERVICES).map((one) => [one.service.key, one])))
  await untilUp(speaker, 2)
  const vip = ({ service }: ServedService) => `${service.clusterIps[0]}/32`
  const isAtBird = (one: ServedService) => bed.birdRoute(BIRD, vip(one)) !== ''
  const isAtFrr = (one: ServedService) => bed.frrPath(vip(one)) !== undefined
  const inKernels = (one: ServedService) => [
    bed.kernelRoute(BIRD, vip(one)) !== '',
    bed.kernelRoute(FRR, vip(one)) !== '',
  ]

  await t.test('what is selected, and what asks', async (t) => {
    for (const one of [SERVICES.selected, SERVICES.asking])
      await until(`${vip(one)} at both`, () => isAtBird(one) && isAtFrr(one) && inKernels(one).every(Boolean))
    t.match(bed.birdRoute(BIRD, vip(SERVICES.selected)), 'BGP.community: (65101,96)')
    t.equal(bed.frrPath(vip(SERVICES.selected))?.community?.string, '65101:96')
    t.equal(bed.frrPath(vip(SERVICES.asking))?.community, undefined, 'the rule is not about it')
    await sleep(300)
    for (const one of [SERVICES.other, SERVICES.refusing, SERVICES.outside])
      t.same([isAtBird(one), isAtFrr(one)], [false, false], one.service.key)
    t.same(events, ['outside AnnouncementRefused'])
  })

  await t.test(
    'the annotation alone, without any rule for ClusterIPs, and to external peers alone',
    async (t) => {
      const rules = [rule({ kinds: ['loopback'] })]
      routing.setRouting({ ...config, rules }, [])
      await until(
        'the selected one to have gone',
        () => !isAtBird(SERVICES.selected) && !isAtFrr(SERVICES.selected),
      )
      t.same([isAtBird(SERVICES.asking), isAtFrr(SERVICES.asking)], [true, true])
      routing.setRouting({ ...config, rules, peers: [peer(BIRD), peer(FRR, { families: ['ipv6'] })] }, [])
      await until('FRR to have lost its family', () => !isAtFrr(SERVICES.asking))
      t.ok(isAtBird(SERVICES.asking))
    },
  )

  await t.test('without the annotation it goes', async () => {
    const plain = served('asking', '10.96.0.3')
    await routing.update(new Map([[plain.service.key, plain]]))
    await until('it to have gone', () => !isAtBird(plain))
  })
})
