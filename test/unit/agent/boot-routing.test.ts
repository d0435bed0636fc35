// What gobgpd starts with: the file's word, the node's as it was last known, or the API server's.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { bootRouting } from '../../../src/agent/boot-routing.ts'
import { rememberNode } from '../../../src/agent/own-node.ts'
import { createKubeClient } from '../../../src/kube/client.ts'
import { fakeServer } from '../kube/fake-server.ts'
import { fileRouting, node } from '../routing/sources/rows.ts'

async function bed(t: { teardown: (run: () => Promise<void>) => void }, text: string) {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'weir-boot-'))
  const server = await fakeServer()
  const client = createKubeClient({ servers: [server.url] })
  const waits: string[] = []
  t.teardown(async () => {
    client.close()
    await server.close()
    rmSync(stateDirectory, { recursive: true, force: true })
  })
  const config = { nodeName: 'node1', stateDirectory, routing: fileRouting(text), pools: [] }
  const boot = () => bootRouting({ config, client, onWaiting: (why) => waits.push(why) })
  return { server, stateDirectory, waits, boot }
}

const BY_LABEL = `
routerId: 10.0.0.1
nodes: [ { nodeSelector: { matchLabels: { rack: a } }, asn: 65101 }, { nodeSelector: { matchLabels: { rack: b } }, asn: 65102 } ]
`

t.test('a file that says enough asks nobody', async (t) => {
  const { server, boot } = await bed(t, 'asn: 65101\nrouterId: 10.0.0.1\nlisten: true')
  t.match(await boot(), { asn: 65_101, listen: { port: 179 } })
  t.equal(server.requests.length, 0)
})

t.test('by the labels that the node had when it was last known', async (t) => {
  const { server, stateDirectory, boot } = await bed(t, BY_LABEL)
  rememberNode(stateDirectory, node(1, { labels: { rack: 'b' } }))
  t.equal((await boot()).asn, 65_102)
  t.equal(server.requests.length, 0)
})

t.test('else as the API server says, by its name alone', async (t) => {
  const { server, waits, boot } = await bed(
    t,
    'sources: { kubeRouter: { enabled: true, nodesFullMesh: false } }',
  )
  server.intercept = (_, response) => {
    const annotations = { 'kube-router.io/node.asn': '65103' }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ metadata: {}, items: [{ metadata: { name: 'node1', annotations } }] }))
    return true
  }
  t.equal((await boot()).asn, 65_103)
  t.match(server.requests, [{ url: /^\/api\/v1\/nodes\?fieldSelector=metadata\.name%3Dnode1$/ }])
  t.strictSame(waits, [])
})

t.test("Cilium's objects, where they alone say it; what is missing is waited for", async (t) => {
  const { server, waits, boot } = await bed(t, 'sources: { cilium: { enabled: true } }')
  let isThere = false
  server.intercept = (request, response) => {
    const instances = [{ name: 'main', localASN: 65_104 }]
    const items = request.url?.includes('/nodes')
      ? [{ metadata: { name: 'node1' } }]
      : request.url?.includes('/ciliumbgpclusterconfigs') && isThere
        ? [{ metadata: { name: 'fabric' }, spec: { bgpInstances: instances } }]
        : []
    isThere ||= request.url?.includes('/ciliumbgpnodeconfigoverrides') ?? false
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ metadata: {}, items }))
    return true
  }
  t.equal((await boot()).asn, 65_104)
  t.strictSame(waits, ['no source gives this node an AS number yet'])
})
