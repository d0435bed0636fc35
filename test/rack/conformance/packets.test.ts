// What is not one small packet: datagrams larger than the MTU, and paths narrower than either end knows, through real routers, by
// tunnel and masqueraded.

import t from 'tap'
import { Bed } from './bed.ts'
import { pod, service, TCP_AND_UDP } from './manifests.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confpackets' })
t.teardown(() => bed.down())

const NARROW_MTU = 1300
const SNAT = { annotations: { 'weir.network/forwarding': 'snat' } } as const
const SELECTED = { type: 'LoadBalancer', selector: { app: 'p' }, ports: TCP_AND_UDP }
await bed.apply(
  pod('p1', { node: 'node1', labels: { app: 'p' } }),
  pod('p2', { node: 'node2', labels: { app: 'p' } }),
  service('plain', SELECTED),
  service('masked', SELECTED, SNAT),
)
await bed.waitForPods('app=p')
const tunnelled = await bed.vips('plain')
const targets = [...tunnelled, ...(await bed.vips('masked'))]
const FROM = ['client1', 'client2'] as const

async function counted(reason: string): Promise<number> {
  const nodes = await Promise.all(
    bed.rack.plan.nodes.map(({ name }) =>
      bed.agent<Record<string, { packets: number }>>(name, '/v1/metrics'),
    ),
  )
  return nodes.reduce((sum, metrics) => sum + (metrics[reason]?.packets ?? 0), 0)
}

/** One datagram each way, so often that both pods and all nodes take part. */
async function echoed(from: string, address: string, bytes: number): Promise<string[]> {
  const text = 'x'.repeat(bytes)
  const answers = await Promise.all(
    Array.from({ length: 12 }, () =>
      bed.order(from, {
        kind: 'udp',
        message: `echo ${text}`,
        connected: true,
        address,
        port: 80,
        timeoutMs: 2000,
      }),
    ),
  )
  return answers.map((answer) => (answer.text === text ? 'whole' : `${answer.text.length} bytes`))
}

t.test('large requests over UDP, in fragments both ways', async (t) => {
  for (const from of FROM)
    for (const address of targets) {
      await bed.until(`${address} to answer`, async () => (await bed.http(from, address)) !== '')
      for (const bytes of [2000, 8000])
        t.same(
          new Set(await echoed(from, address, bytes)),
          new Set(['whole']),
          `${bytes} to ${address} from ${from}`,
        )
    }
  t.equal(await counted('FRAGMENT'), 0, 'none was dropped')
})

t.test('a path narrower than both ends know: errors reach the pods through the VIP', async (t) => {
  const link = bed.rack.plan.links.find(
    ({ kind, lower }) => kind === 'client-spine' && lower.host === 'client1',
  )
  const [client] = bed.rack.plan.clients
  for (const [family, bits] of [
    ['ipv4', 32],
    ['ipv6', 128],
  ] as const) {
    const to = `${client?.address[family]}/${bits}`
    const way = ['dev', link?.upper.interface ?? '', 'mtu', 'lock', String(NARROW_MTU)]
    await bed.run('spine', ['ip', family === 'ipv4' ? '-4' : '-6', 'route', 'replace', to, ...way])
  }
  const text = 'y'.repeat(6000)
  // Routers bring errors to any node; of masqueraded flows only the port's owner can relay them.
  for (const address of tunnelled) {
    const before = await counted('ICMP_RELAYED')
    for (let time = 0; time < 6; time += 1) {
      const body = await bed.http('client1', address, `/echo?msg=${text}`)
      t.equal(body.length, text.length, `${address}: all of it`)
    }
    t.ok((await counted('ICMP_RELAYED')) > before, `${address}: an error was relayed`)
    for (const one of ['p1', 'p2'])
      for (const family of ['-4', '-6'])
        await bed.run(`default/${one}`, ['ip', family, 'route', 'flush', 'cache'])
  }
})
