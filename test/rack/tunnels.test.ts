// A fabric that has no room for tunnel headers (MTU 1500), with either tunnel: what does not fit is said, as a host would say it.
// The VIP answers as a host in all else, too. And pods whose sockets the cgroup hooks do not see.

import t, { type Test } from 'tap'
import { runAt } from '../../src/sandbox/host.ts'
import { Bed } from './conformance/bed.ts'
import { expectAnswerers, expectConnect } from './conformance/expect.ts'
import { pod, service, TCP_AND_UDP } from './conformance/manifests.ts'

t.setTimeout(300_000)
const PODS = ['p1', 'p2'] as const
const FABRIC_MTU = 1500

async function up(tunnel: 'geneve' | 'ipip'): Promise<{ bed: Bed; vips: string[] }> {
  const agent = { datapath: { tunnel, perPacket: true } }
  const bed = await Bed.up({ name: tunnel, nodes: 2, mtu: { fabric: FABRIC_MTU }, agent })
  t.teardown(() => bed.down())
  await bed.apply(
    ...PODS.map((name) => pod(name, { node: `node${name.slice(1)}`, labels: { app: 'p' } })),
    service('web', { type: 'LoadBalancer', selector: { app: 'p' }, ports: TCP_AND_UDP }),
  )
  await bed.waitForPods('app=p')
  const vips = await bed.vips('web')
  await expectAnswerers(bed, t, ['client1', 'client2'], vips, PODS)
  return { bed, vips }
}

/** Requests of several segments and datagrams of several fragments, often enough that other nodes' pods are among those asked. */
async function expectLarge(bed: Bed, t: Test, vips: readonly string[]): Promise<void> {
  const message = 'x'.repeat(6000)
  for (const vip of vips) {
    const texts = await Promise.all(
      Array.from({ length: 12 }, () => bed.http('client1', vip, `/echo?msg=${message}`)),
    )
    t.equal(texts.filter((text) => text === message).length, texts.length, `6000 bytes by TCP through ${vip}`)
    const datagram = 'y'.repeat(2000)
    // The first ones are too long for the tunnel; they are lost, and their sender is told what fits.
    let answered = 0
    await bed
      .until('a round of datagrams to be answered', async () => {
        const asked = Array.from({ length: 12 }, () =>
          bed.udp('client2', vip, 80, { message: `echo ${datagram}` }),
        )
        answered = (await Promise.all(asked)).filter(({ text }) => text === datagram).length
        return answered === 12
      })
      .catch(() => {})
    t.equal(answered, 12, `2000 bytes by UDP through ${vip}`)
  }
}

async function expectPing(bed: Bed, t: Test, from: string, vip: string, bytes: number): Promise<void> {
  const options = ['-n', '-c', '3', '-i', '0.05', '-W', '1', '-s', String(bytes)]
  const { stdout } = await bed.run(from, ['ping', ...options, vip])
  t.match(stdout, /3 packets transmitted, 3 received/, `${bytes} bytes to ${vip} from ${from}`)
}

t.test('Geneve over a fabric of 1500: large requests pass, for senders are told what fits', async (t) => {
  const { bed, vips } = await up('geneve')
  await expectLarge(bed, t, vips)

  await t.test('a VIP is a host: it answers ping, and refuses what it does not serve', async (t) => {
    const { clusterIps } = await bed.serviceAddresses('web')
    for (const vip of vips) {
      for (const from of ['client1', 'default/p1', 'node2']) await expectPing(bed, t, from, vip, 56)
      // In one piece: a ping in fragments is not answered.
      await expectPing(bed, t, 'client1', vip, 1300)
    }
    for (const clusterIp of clusterIps) await expectPing(bed, t, 'default/p1', clusterIp, 56)
    for (const protocol of ['tcp', 'udp'] as const)
      await expectConnect(bed, t, ['client1', 'default/p1', 'node1'], vips, 'refused', { port: 81, protocol })
  })

  await t.test('a pod that the cgroup hooks do not see is balanced packet by packet', async (t) => {
    const { clusterIps } = await bed.serviceAddresses('web')
    const { namespace } = await bed.host('default/p1')
    for (const target of [...clusterIps, ...vips]) {
      const seen = new Set<string>()
      const url = `http://${target.includes(':') ? `[${target}]` : target}/hostname`
      await bed
        .until(`both pods to have answered at ${target}`, async () => {
          // Not in the pod's cgroup.
          const { stdout } = await runAt({ namespace }, ['curl', '-s', '-g', '-m', '2', url])
          return seen.add(stdout).size >= 2 && !seen.has('')
        })
        .catch(() => {})
      t.strictSame([...seen].sort(), [...PODS], `${target} from outside of the pod’s cgroup`)
    }
  })
  await bed.down()
})

t.test('IPIP over a fabric of 1500', async (t) => {
  const { bed, vips } = await up('ipip')
  await expectLarge(bed, t, vips)
  await bed.down()
})
