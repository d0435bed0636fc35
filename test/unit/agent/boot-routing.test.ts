// What gobgpd starts with: the file's word, the node's as it was last known, or an agent's.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { bootRouting, rememberRouting } from '../../../src/agent/boot-routing.ts'
import { rememberNode } from '../../../src/agent/own-node.ts'
import { mergeRouting } from '../../../src/routing/sources/merge.ts'
import { fileRouting, node } from '../routing/sources/rows.ts'

function bed(t: { teardown: (run: () => void) => void }, text: string) {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'weir-boot-'))
  t.teardown(() => rmSync(stateDirectory, { recursive: true, force: true }))
  const config = { nodeName: 'node1', stateDirectory, routing: fileRouting(text), pools: [] }
  return { stateDirectory, boot: () => bootRouting(config) }
}

const BY_LABEL = `
routerId: 10.0.0.1
nodes: [ { nodeSelector: { matchLabels: { rack: a } }, asn: 65101 }, { nodeSelector: { matchLabels: { rack: b } }, asn: 65102 } ]
`

t.test('by a file that says enough', async (t) => {
  const { boot } = bed(t, 'asn: 65101\nrouterId: 10.0.0.1\nlisten: true')
  t.match(boot(), { asn: 65_101, listen: { port: 179 } })
})

t.test('by what the node was when it was last known', async (t) => {
  const labelled = bed(t, BY_LABEL)
  t.equal(labelled.boot(), undefined)
  rememberNode(labelled.stateDirectory, node(1, { labels: { rack: 'b' } }))
  t.match(labelled.boot(), { asn: 65_102, podCidrs: ['10.244.1.0/24'] })
  const annotated = bed(t, 'sources: { kubeRouter: { enabled: true, nodesFullMesh: false } }')
  const annotations = { 'kube-router.io/node.asn': '65103' }
  rememberNode(annotated.stateDirectory, node(1, { annotations }))
  t.match(annotated.boot(), { asn: 65_103, routerId: '10.255.0.1' })
})

t.test("else by an agent's word", async (t) => {
  const { stateDirectory, boot } = bed(t, 'sources: { cilium: { enabled: true } }')
  t.equal(boot(), undefined)
  const facts = { self: node(1), others: [] }
  const { routing } = mergeRouting({ file: fileRouting('asn: 65104'), pools: [], facts, others: [] })
  if (routing) rememberRouting(stateDirectory, routing)
  t.match(boot(), { asn: 65_104, routerId: '10.255.0.1', podCidrs: ['10.244.1.0/24'] })
})
