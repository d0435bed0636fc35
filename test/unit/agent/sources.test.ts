// Following an API server that lacks a kind, and asking only for the pods of this node.

import { pino } from 'pino'
import t from 'tap'
import { followSources } from '../../../src/agent/sources.ts'
import { createKubeClient } from '../../../src/kube/client.ts'
import { fakeServer } from '../kube/fake-server.ts'

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
