// Services as objects: which of them are served, by which endpoints. Through a pod, a node and an outside client.

import t from 'tap'
import { Bed } from './bed.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confsvc' })
t.teardown(() => bed.down())

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 4
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: agnhost
          args: [netexec, --http-port=8080, --udp-port=8081]
          ports: [{ name: http, containerPort: 8080 }, { name: udp, containerPort: 8081, protocol: UDP }]
---
apiVersion: v1
kind: Pod
metadata: { name: caller, labels: { app: caller } }
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  containers: [{ name: caller, image: agnhost, args: [netexec, --http-port=8090, --udp-port=8091] }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  ipFamilies: [IPv4, IPv6]
  selector: { app: web }
  ports:
    - { name: tcp, port: 80, targetPort: http }
    - { name: udp, protocol: UDP, port: 80, targetPort: udp }
`

await bed.apply(WEB)
await bed.waitForPods('app in (web, caller)')
const web = await bed.serviceAddresses('web')
const vips = await bed.vips('web')

t.test('SVC-001 every endpoint of a ClusterIP gets TCP and UDP, from a pod and from the node', async (t) => {
  for (const clusterIp of web.clusterIps) {
    for (const from of ['default/caller', 'node2']) {
      await bed.until(
        `${clusterIp} from ${from}`,
        async () => (await bed.answerers(from, clusterIp, 80, 40)).size === 4,
      )
      t.match((await bed.udp(from, clusterIp, 80)).text, /^web-/, `UDP ${clusterIp} from ${from}`)
    }
  }
  t.pass('all four answered')
})

t.test('SVC-003 TCP and UDP on one number lead to different target ports', async (t) => {
  for (const vip of vips) {
    await bed.until(`${vip} from outside`, async () => /^web-/.test(await bed.curl('client1', vip)))
    t.match((await bed.udp('client1', vip, 80)).text, /^web-/)
  }
})
