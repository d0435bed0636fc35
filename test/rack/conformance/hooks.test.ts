// Uplinks served at tc instead of XDP, and by both, under frames that are merged and whose checksums are unfinished; backends of
// the node's own network; and the ways to a backend on another node side by side: tunnelled, and masqueraded.

import t from 'tap'
import { Bed } from './bed.ts'
import { expectAnswerers, expectConnect } from './expect.ts'
import { HTTP_PORT, pod, service, UDP_PORT } from './manifests.ts'

t.setTimeout(300_000)

const PODS = ['p1', 'p2'] as const
const PORTS = [
  { name: 'tcp', port: 80, targetPort: HTTP_PORT },
  { name: 'udp', protocol: 'UDP', port: 80, targetPort: UDP_PORT },
]
const SELECTED = { type: 'LoadBalancer', selector: { app: 'p' }, ports: PORTS }
const UPLOAD_BYTES = 4_000_000

interface Status {
  readonly uplinks: readonly { readonly name: string; readonly hook?: string; readonly reason?: string }[]
}

async function upload(bed: Bed, from: string, vip: string): Promise<string> {
  const host = vip.includes(':') ? `[${vip}]` : vip
  const send = `head -c ${UPLOAD_BYTES} /dev/zero | curl -sS -m 20 --data-binary @- -H Expect: -o /dev/null -w '%{http_code} %{size_upload}' http://${host}/hostname`
  const { stdout, stderr } = await bed.run(from, ['sh', '-c', send])
  return `${stdout}${stderr}`
}

async function up(hook: 'tc' | 'auto'): Promise<Bed> {
  const bed = await Bed.up({ name: `confhook${hook}`, agent: { datapath: { uplinkHook: hook } } })
  await bed.apply(
    pod('p1', { node: 'node1', labels: { app: 'p' } }),
    pod('p2', { node: 'node2', labels: { app: 'p' } }),
  )
  await bed.waitForPods('app=p')

  // What the rack turns off, for not everything in it can have it.
  for (const host of ['client1', 'tor1', 'tor2', 'node1', 'node2', 'node3', 'default/p1', 'default/p2']) {
    const each =
      'for link in $(ip -o link show type veth | cut -d: -f2 | cut -d@ -f1); do ethtool -K $link tx on tso on gso on gro on; done'
    const { status, stderr } = await bed.run(host, ['sh', '-c', each])
    if (status !== 0) throw new Error(`offloads of ${host}: ${stderr}`)
  }

  return bed
}

for (const hook of ['tc', 'auto'] as const)
  t.test(`uplinkHook ${hook}`, async (t) => {
    const bed = await up(hook)
    t.teardown(() => bed.down())

    t.test('the status tells which hook serves an uplink, and why', async (t) => {
      const { uplinks } = await bed.agent<Status>('node1', '/v1/status')
      t.ok(uplinks.length > 0)
      for (const uplink of uplinks)
        t.match(uplink, hook === 'tc' ? { hook, reason: /uplinkHook/ } : { hook: 'xdp', reason: undefined })
    })

    for (const forwarding of ['dsr', 'snat'] as const)
      t.test(`NAT-010 ${forwarding}: every pod answers, and much data arrives`, async (t) => {
        const annotations = { 'weir.network/forwarding': forwarding }
        await bed.apply(service(`by${forwarding}`, SELECTED, { annotations }))
        const vips = await bed.vips(`by${forwarding}`)
        await expectAnswerers(bed, t, ['client1', 'client2', 'node3'], vips, PODS)
        await expectAnswerers(bed, t, 'client1', vips, PODS, { protocol: 'udp' })
        for (const vip of vips)
          for (let round = 0; round < 4; round++)
            t.equal(await upload(bed, 'client1', vip), `200 ${UPLOAD_BYTES}`, `${vip}, upload ${round}`)
        await expectConnect(bed, t, 'client1', vips, 'refused', { port: 81 })
      })

    t.test('NAT-012 a masqueraded client is the entry node to the pod', async (t) => {
      const [vip4 = '', vip6 = ''] = await bed.vips('bysnat')
      const nodes = new Set([1, 2, 3].flatMap((number) => bed.nodeAddresses(number)))
      const clients = Object.values(bed.rack.plan.clients[0]?.address ?? {})
      for (const vip of [vip4, vip6]) {
        const seen = new Set<string>()
        for (let round = 0; round < 24; round++)
          seen.add((await bed.http('client1', vip, '/clientip')).replace(/^\[?(.*?)\]?:\d+$/, '$1'))
        t.ok(
          [...seen].every((address) => nodes.has(address) || clients.includes(address)),
          [...seen].join(),
        )
        t.ok(
          [...seen].some((address) => nodes.has(address)),
          'some came by another node',
        )
      }
    })

    t.test('NAT-006 backends of the node’s own network, here and on other nodes', async (t) => {
      await bed.apply(
        pod('h1', { node: 'node1', labels: { app: 'h' }, isHostNetwork: true, httpPort: 18_080 }),
        pod('h2', { node: 'node2', labels: { app: 'h' }, isHostNetwork: true, httpPort: 18_080 }),
      )
      await bed.waitForPods('app=h')
      for (const forwarding of ['dsr', 'snat'] as const) {
        const ports = [{ name: 'tcp', port: 80, targetPort: 18_080 }]
        const spec = { type: 'LoadBalancer', selector: { app: 'h' }, ports }
        await bed.apply(
          service(`host${forwarding}`, spec, { annotations: { 'weir.network/forwarding': forwarding } }),
        )
        const vips = await bed.vips(`host${forwarding}`)
        await expectAnswerers(bed, t, ['client1', 'client2', 'node3'], vips, ['h1', 'h2'])
        for (const vip of vips) t.equal(await upload(bed, 'client1', vip), `200 ${UPLOAD_BYTES}`, vip)
      }
    })
  })
