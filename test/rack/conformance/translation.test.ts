// Who sees which address: source addresses, hairpins, endpoints on the host's network, SNAT through another node, checksums and
// SCTP. The rack's cluster default is DSR; what is annotated with `snat` is masqueraded.

import t from 'tap'
import { Bed } from './bed.ts'
import { expectAnswerers, expectClientAddress, expectConnect } from './expect.ts'
import { HTTP_PORT, pod, service, TCP_AND_UDP, UDP_PORT } from './manifests.ts'
import { INIT_ACK, readSctp, SCTP, sctpPacket } from './sctp.ts'

t.setTimeout(300_000)
const UPLINKS_V4 = '10.254.1.0/24'
const bed = await Bed.up({
  name: 'confnat',
  agent: {
    services: { nodePortAddresses: ['10.255.0.0/16', 'fd00:255::/32', UPLINKS_V4, '127.0.0.0/8', '::1/128'] },
  },
})
t.teardown(() => bed.down())

const PODS = ['p1', 'p2'] as const
const SNAT = { annotations: { 'weir.network/forwarding': 'snat' } } as const
/** Of host-network pods: netexec's own ports are taken by nobody there, but each node has them once. */
const HOST_HTTP_PORT = 18_080
const SCTP_PORT = 9999
const EXTERNAL_IPS = ['203.0.113.230', '2001:db8:113::e6']
const SELECTED = { selector: { app: 'p' }, ports: TCP_AND_UDP }
await bed.apply(
  pod('p1', {
    node: 'node1',
    labels: { app: 'p' },
    ports: [
      { name: 'http', containerPort: HTTP_PORT },
      { name: 'udp', containerPort: UDP_PORT, protocol: 'UDP' },
      { name: 'sctp', containerPort: SCTP_PORT, protocol: 'SCTP' },
    ],
  }),
  pod('p2', { node: 'node2', labels: { app: 'p' } }),
  pod('caller', { node: 'node3' }),
  pod('neighbour', { node: 'node1' }),
  pod('h1', { node: 'node1', labels: { app: 'h' }, isHostNetwork: true, httpPort: HOST_HTTP_PORT }),
  pod('h2', { node: 'node2', labels: { app: 'h' }, isHostNetwork: true, httpPort: HOST_HTTP_PORT }),
  service('plain', { type: 'LoadBalancer', externalIPs: EXTERNAL_IPS, ...SELECTED }),
  service('masked', { type: 'LoadBalancer', ...SELECTED }, SNAT),
  service('self', {
    type: 'LoadBalancer',
    externalIPs: ['203.0.113.231', '2001:db8:113::e7'],
    selector: { app: 'neighbour' },
    ports: TCP_AND_UDP,
  }),
)
await bed.waitForPods('app in (p, h, caller, neighbour)')
const plain = await bed.serviceAddresses('plain')
const masked = await bed.serviceAddresses('masked')
const plainVips = await bed.vips('plain')
const maskedVips = await bed.vips('masked')
const callerAddresses = await bed.podAddresses('caller')
const clientAddresses = [
  bed.rack.plan.clients[0]?.address.ipv4 ?? '',
  bed.rack.plan.clients[0]?.address.ipv6 ?? '',
]
const FAMILIES = [0, 1] as const
const PROTOCOLS = ['tcp', 'udp'] as const

function nodePort(ports: Readonly<Record<string, number>>, protocol: 'tcp' | 'udp'): number {
  return ports[`80/${protocol.toUpperCase()}`] ?? 0
}

t.test('NAT-001, NAT-005 a pod is seen with its own address, through ClusterIP and VIP', async (t) => {
  for (const targets of [plain.clusterIps, plainVips])
    for (const protocol of PROTOCOLS)
      for (const family of FAMILIES)
        await expectClientAddress(
          bed,
          t,
          'default/caller',
          targets[family] ?? '',
          callerAddresses[family] ?? '',
          { protocol },
        )
})

t.test('NAT-002, NAT-003 a pod reaches itself through every kind of its addresses', async (t) => {
  const { clusterIps, nodePorts } = await bed.serviceAddresses('self')
  const targets = [...clusterIps, ...(await bed.vips('self')), '203.0.113.231', '2001:db8:113::e7']
  for (const protocol of PROTOCOLS) {
    await expectAnswerers(bed, t, 'default/neighbour', targets, ['neighbour'], { protocol })
    const port = nodePort(nodePorts, protocol)
    const nodes = [...bed.nodeAddresses(1), ...bed.nodeAddresses(2)]
    await expectAnswerers(bed, t, 'default/neighbour', nodes, ['neighbour'], { protocol, port })
  }
})

t.test('NAT-004 a client that routes a ClusterIP to a node is answered, masqueraded', async (t) => {
  const [node] = bed.rack.plan.nodes
  for (const family of ['ipv4', 'ipv6'] as const) {
    const clusterIp = masked.clusterIps[family === 'ipv4' ? 0 : 1] ?? ''
    const bits = family === 'ipv4' ? 32 : 128
    const toTor = bed.rack.plan.links.find(({ kind, lower }) => kind === 'tor-spine' && lower.host === 'tor1')
    const spineToTor = toTor?.lower.address[family].split('/')[0] ?? ''
    await bed.run('spine', ['ip', 'route', 'replace', `${clusterIp}/${bits}`, 'via', spineToTor])
    await bed.run('tor1', [
      'ip',
      'route',
      'replace',
      `${clusterIp}/${bits}`,
      'via',
      node?.uplinks[0]?.local[family] ?? '',
    ])
    for (const protocol of PROTOCOLS) {
      await expectAnswerers(bed, t, 'client1', clusterIp, PODS, { protocol })
      const seen = new Set<string>()
      for (let asked = 0; asked < 12; asked += 1)
        seen.add(
          protocol === 'tcp'
            ? await bed.http('client1', clusterIp, '/clientip')
            : (await bed.udp('client1', clusterIp, 80, { message: 'clientip' })).text,
        )
      const loopback = node?.loopback[family] ?? ''
      t.ok(
        [...seen].some((text) => text.includes(loopback)),
        `${protocol} ${clusterIp}: ${[...seen].join(' ')}`,
      )
    }
  }
})

t.test('NAT-006 endpoints on the host’s network, on this node and on another', async (t) => {
  await bed.apply(
    service('hosts', {
      type: 'LoadBalancer',
      selector: { app: 'h' },
      ports: [
        { name: 'tcp', port: 80, targetPort: HOST_HTTP_PORT },
        { name: 'udp', protocol: 'UDP', port: 80, targetPort: UDP_PORT },
      ],
    }),
    service(
      'hostsmasked',
      { type: 'LoadBalancer', selector: { app: 'h' }, ports: [{ port: 80, targetPort: HOST_HTTP_PORT }] },
      SNAT,
    ),
  )
  const { clusterIps, nodePorts } = await bed.serviceAddresses('hosts')
  const vips = await bed.vips('hosts')
  const inside = ['default/caller', 'default/neighbour', 'node1', 'node3']
  for (const protocol of PROTOCOLS) {
    await expectAnswerers(bed, t, inside, [...clusterIps, ...vips], ['h1', 'h2'], { protocol })
    await expectAnswerers(bed, t, 'client1', vips, ['h1', 'h2'], { protocol })
    const port = nodePort(nodePorts, protocol)
    await expectAnswerers(bed, t, ['client1', 'node3'], bed.nodeAddresses(1), ['h1', 'h2'], {
      protocol,
      port,
    })
  }
  await expectAnswerers(bed, t, 'client1', await bed.vips('hostsmasked'), ['h1', 'h2'])
})

t.test('NAT-007 a node reaches every kind of Service address', async (t) => {
  for (const protocol of PROTOCOLS) {
    const targets = [...plain.clusterIps, ...plainVips, ...EXTERNAL_IPS, ...maskedVips]
    await expectAnswerers(bed, t, ['node1', 'node3'], targets, PODS, { protocol })
    const port = nodePort(plain.nodePorts, protocol)
    const nodes = [...bed.nodeAddresses(1), ...bed.nodeAddresses(3)]
    await expectAnswerers(bed, t, ['node1', 'node3'], nodes, PODS, { protocol, port })
  }
})

t.test('EXT-002 node ports on the configured networks, and on no other address', async (t) => {
  const port = nodePort(plain.nodePorts, 'tcp')
  const [first, second] = bed.rack.plan.nodes[0]?.uplinks ?? []
  // An address of the node is what its Node object says.
  const { status } = await bed.get<{ status: { addresses: unknown[] } }>('node', 'node1')
  const addresses = [...status.addresses, { type: 'ExternalIP', address: first?.local.ipv4 }]
  await bed.patch('node', 'node1', { status: { addresses } }, '--subresource=status')
  await expectAnswerers(bed, t, 'client1', [first?.local.ipv4 ?? '', ...bed.nodeAddresses(1)], PODS, { port })
  const others = [first?.local.ipv6 ?? '', second?.local.ipv4 ?? '', second?.local.ipv6 ?? '']
  await expectConnect(bed, t, 'client1', others, 'refused', { port })
})

t.test('EXT-018 node ports on loopback, where they are configured', async (t) => {
  for (const protocol of PROTOCOLS) {
    const port = nodePort(plain.nodePorts, protocol)
    await expectAnswerers(bed, t, 'node1', ['127.0.0.1', '::1'], PODS, { protocol, port })
  }
})

t.test('EXT-012, NAT-012 SNAT: through the entry node, a port for each flow, none in order', async (t) => {
  await expectAnswerers(bed, t, 'client1', maskedVips, PODS)
  await expectAnswerers(bed, t, 'client1', maskedVips, PODS, { protocol: 'udp' })
  await expectAnswerers(bed, t, 'client1', bed.nodeAddresses(3), PODS, {
    port: nodePort(masked.nodePorts, 'tcp'),
  })
  const nodes = new Set(bed.rack.plan.nodes.flatMap(({ loopback }) => [loopback.ipv4, loopback.ipv6]))
  for (const [family, vip] of maskedVips.entries()) {
    const seen = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const key = `snat${family}-${index}`
        await bed.order('client1', {
          kind: 'open',
          key,
          protocol: 'tcp',
          address: vip,
          port: 80,
          timeoutMs: 3000,
        })
        const { text } = await bed.order('client1', { kind: 'ask', key, text: '/clientip', timeoutMs: 3000 })
        const pod = await bed.order('client1', { kind: 'ask', key, text: '/hostname', timeoutMs: 3000 })
        const colon = text.lastIndexOf(':')
        const address = text.slice(0, colon).replace(/^\[|\]$/g, '')
        return { address, port: Number(text.slice(colon + 1)), pod: pod.text }
      }),
    )
    // A pod on the entry node may be given the client's own address: its answer passes the translator anyway.
    const hidden = seen.filter(({ address }) => nodes.has(address))
    const shown = seen.filter(({ address }) => address === clientAddresses[family])
    t.equal(hidden.length + shown.length, seen.length, 'all answered')
    t.ok(hidden.length > 30, `${hidden.length} of ${seen.length} came from another node`)
    // Flows to different pods may share a port: their answers differ.
    t.equal(
      new Set(hidden.map(({ address, port, pod }) => `${address} ${port} ${pod}`)).size,
      hidden.length,
      'no port twice',
    )
    t.ok(
      hidden.every(({ port }) => port >= 61_000),
      'within snatPorts',
    )
    const steps = hidden.slice(1).map(({ port }, index) => Math.abs(port - (hidden[index]?.port ?? 0)))
    t.ok(steps.filter((step) => step <= 1).length < hidden.length / 4, 'not one after another')
    for (const index of seen.keys())
      await bed.order('client1', { kind: 'close', key: `snat${family}-${index}` })
  }
})

t.test('NAT-010 checksums are right where senders leave them to their device', async (t) => {
  for (const name of ['default/p1', 'default/neighbour', 'default/caller'])
    await bed.run(name, ['ethtool', '-K', 'eth0', 'tx', 'on', 'tso', 'on', 'gso', 'on'])
  for (const protocol of PROTOCOLS) {
    await expectAnswerers(bed, t, 'client1', [...plainVips, ...maskedVips], PODS, { protocol })
    await expectAnswerers(bed, t, ['default/caller', 'default/neighbour', 'node1'], plainVips, PODS, {
      protocol,
    })
  }
  const message = 'x'.repeat(7000)
  for (const vip of [...plainVips, ...maskedVips])
    t.equal(await bed.http('client1', vip, `/echo?msg=${message}`), message, `7000 bytes through ${vip}`)
})

t.test('NAT-011, NAT-010 SCTP to another port, and back, with its CRC32c', async (t) => {
  await bed.apply(
    service('sctp', {
      type: 'LoadBalancer',
      selector: { app: 'p' },
      ports: [{ name: 'sctp', protocol: 'SCTP', port: 3868, targetPort: 'sctp' }],
    }),
  )
  const podAddresses = await bed.podAddresses('p1')
  for (const [index, vip] of (await bed.vips('sctp')).entries()) {
    const family = index === 0 ? 4 : 6
    const raw = { kind: 'raw', protocol: SCTP, family } as const
    await bed.order('client1', raw)
    await bed.order('default/p1', raw)
    let asked: { from: string; hex: string } | undefined
    await bed.until(`an INIT to reach the pod over IPv${family}`, async () => {
      await bed.order('client1', { ...raw, to: vip, hex: sctpPacket(40_000, 3868) })
      asked = (await bed.order('default/p1', raw)).at(-1)
      return asked !== undefined
    })
    t.equal(asked?.from, clientAddresses[index], 'the pod sees the client')
    t.match(readSctp(asked?.hex ?? '', family === 4), {
      sourcePort: 40_000,
      destinationPort: SCTP_PORT,
      isChecksumRight: true,
    })
    await bed.order('client1', raw)
    await bed.order('default/p1', {
      ...raw,
      to: asked?.from ?? '',
      hex: sctpPacket(SCTP_PORT, 40_000, INIT_ACK),
    })
    let answer: { from: string; hex: string } | undefined
    await bed.until('the answer to reach the client', async () => {
      answer = (await bed.order('client1', raw)).at(-1)
      return answer !== undefined
    })
    t.equal(answer?.from, vip, `not from ${podAddresses[index]}`)
    t.match(readSctp(answer?.hex ?? '', family === 4), {
      sourcePort: 3868,
      destinationPort: 40_000,
      chunkType: INIT_ACK,
      isChecksumRight: true,
    })
  }
})
