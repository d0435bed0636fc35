// The cluster of the bed: the same Services whatever their number, no endpoint twice, ports that are ports.

import t from 'tap'
import {
  benchServices,
  ENDPOINTS,
  EXTERNAL_MAX,
  externalPlaces,
  FIRST_TARGET_PORT,
  modelOf,
} from '../../../../bench/bed/cluster.ts'

for (const size of [10, 1000, 10_000])
  t.test(`${size} Services`, async (t) => {
    const services = [...benchServices(size, 'udp')]
    t.equal(services.length, size)
    const external = services.filter(({ loadBalancerIp }) => loadBalancerIp !== undefined)
    t.equal(external.length, Math.min(size, EXTERNAL_MAX))
    t.equal(external.filter(({ isLocal }) => isLocal).length, external.length / 2)
    t.same(
      services.flatMap((service, place) => (service.loadBalancerIp === undefined ? [] : [place])),
      externalPlaces(size),
    )
    const endpoints = services.flatMap((service) =>
      service.endpoints.map(({ address, port }) => `${address}:${port}`),
    )
    t.equal(new Set(endpoints).size, size * ENDPOINTS)
    t.ok(services.every((service) => service.endpoints.every(({ port }) => port < 65_536)))
    t.ok(external.every((service) => service.endpoints.every(({ port }) => port <= FIRST_TARGET_PORT + 1)))
    t.equal(new Set(services.map(({ clusterIp }) => clusterIp)).size, size)
  })

t.test('endpoints of a Service are where they say', async (t) => {
  for (const service of benchServices(1000, 'tcp')) {
    const isRight = service.endpoints.every(({ address, isLocal }, index) => {
      const node = Number(address.split('.')[2])
      return node === service.nodes[index] && isLocal === (node === 0)
    })
    if (!isRight) t.fail(service.name)
    if (service.externalLocal && !service.isLocal) t.fail(service.name)
  }
})

t.test('slices hold every endpoint with its port', async (t) => {
  for (const service of benchServices(1000, 'tcp')) {
    const { slices } = modelOf(service)
    const held = slices.flatMap(({ ports, endpoints }) =>
      endpoints.map(({ address }) => `${address}:${ports[0]?.port}`),
    )
    const wanted = service.endpoints.map(({ address, port }) => `${address}:${port}`)
    if (held.sort().join() !== wanted.sort().join()) t.fail(service.name)
  }
})
