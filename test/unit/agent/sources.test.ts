// Following an API server that lacks a kind, asking only for the pods of this node, and keeping apart what is not served.

import { pino } from 'pino'
import t from 'tap'
import { follow, followSources, unservedTables } from '../../../src/agent/sources.ts'
import { createKubeClient } from '../../../src/kube/client.ts'
import { SERVICES } from '../../../src/kube/objects.ts'
import { toService, toUnservedService } from '../../../src/kube/to-model.ts'
import type { Service } from '../../../src/model/service.ts'
import { Table } from '../../../src/tables/table.ts'
import { fakeServer, until } from '../kube/fake-server.ts'

t.test(
  'a kind the API server does not know is empty, holds nothing up, and is not asked for again soon',
  async (t) => {
    const server = await fakeServer()
    server.intercept = (request, response) => {
      if (!request.url?.includes('/servicecidrs')) return false
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ kind: 'Status', code: 404, reason: 'NotFound', message: 'no such kind' }))
      return true
    }
    const client = createKubeClient({ servers: [server.url] })
    const sources = followSources({
      client,
      nodeName: 'node1',
      log: pino({ level: 'silent' }),
      startDelayMs: 0,
    })
    t.teardown(async () => {
      sources.close()
      client.close()
      await server.close()
    })
    await sources.synced
    t.equal(sources.serviceCidrs.size, 0)
    // Long enough for several tries at the usual pace.
    await new Promise((resolve) => setTimeout(resolve, 700))
    const asked = (part: string) => server.requests.filter(({ url }) => url.includes(part))
    t.equal(asked('/servicecidrs').length, 1)
    t.ok(asked('/pods').every(({ url }) => url.includes('fieldSelector=spec.nodeName%3Dnode1')))
    t.ok(asked('/pods').length > 0)
  },
)

t.test(
  'what is not served is kept apart where it is wanted, and moves when its label comes or goes',
  async (t) => {
    const server = await fakeServer()
    const client = createKubeClient({ servers: [server.url] })
    const [table, unserved] = [new Table<Service>({ name: 'a' }), unservedTables().services]
    const { watch, synced } = follow({
      ...{ client, log: pino({ level: 'silent' }), startDelayMs: 0, resource: SERVICES },
      ...{ project: toService, table },
      leftOut: { project: toUnservedService, table: unserved },
    })
    t.teardown(async () => {
      watch.close()
      client.close()
      await server.close()
    })
    const places = () => [table, unserved].map((one) => [...one.entries()].map(([key]) => key).sort())
    const seen = async (...wanted: string[][]) => {
      await until('both tables to agree', () => JSON.stringify(places()) === JSON.stringify(wanted)).catch(
        () => {},
      )
      t.same(places(), wanted)
    }
    server.set({ name: 'plain', spec: { clusterIP: '10.0.0.1' } })
    server.set({ name: 'headless', spec: { clusterIP: 'None' } })
    server.set({ name: 'name', spec: { type: 'ExternalName' } })
    await synced
    await seen(['default/plain'], ['default/headless'])
    server.set({ name: 'plain', spec: { clusterIP: 'None' } })
    await seen([], ['default/headless', 'default/plain'])
    server.set({ name: 'headless', spec: { clusterIP: '10.0.0.2' } })
    server.remove('plain')
    await seen(['default/headless'], [])
  },
)
