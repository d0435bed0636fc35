// Routing that changes under a running agent, as both routers see it: the file, a refused file, a trial that nobody confirms, one whose
// agent dies, one that is confirmed; peers that follow the labels of the Node; a password from a Secret; kube-router's and Cilium's word.
// What is asserted is read from the routers' own tables.

import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { ciliumCrd } from '../../bench/control/open-crds.ts'
import { Bed } from './conformance/bed.ts'
import { pod, service } from './conformance/manifests.ts'
import { announce, RoutingBed } from './live-routing-bed.ts'

t.setTimeout(300_000)

const bed = await Bed.up({ name: 'liverouting', nodes: 2 })
t.teardown(() => bed.down())
const routing = new RoutingBed(bed)
const { original, peers, podCidr, ownToFrr } = routing

async function expectEvent(t: Test, reason: string, message: RegExp): Promise<void> {
  await bed.until(`an Event ${reason}`, async () => {
    const { items } = await bed.get<{ items: { reason: string; message: string }[] }>('events')
    return items.some((one) => one.reason === reason && message.test(one.message))
  })
  t.pass(`an Event ${reason} tells of it`)
}

t.test('a change of the file reaches both routers, and no session notices', async (t) => {
  routing.writeFile({ announce: announce('65101:100', { med: 7 }) })
  // Its peers have no BFD: routers take its end for a loss, and sessions begin anew, this once.
  await bed.until('BFD to be over', async () => (await bed.agent<unknown[]>('node1', '/v1/bfd')).length === 0)
  await routing.bothSee('65101:100')
  const before = await routing.establishments()
  routing.writeFile({ announce: announce('65101:101') })
  await routing.bothSee('65101:101')
  t.equal(await routing.establishments(), before, 'attributes bounce no session')
})

t.test('a refused file changes nothing', async (t) => {
  routing.writeFile({ announce: announce('65101:102'), pers: [] })
  await bed.until('the refusal', async () => (await routing.configuration()).file.refused !== undefined)
  t.match(
    (await routing.configuration()).file.refused?.message,
    /routing: unknown key 'pers' \(did you mean 'peers'\?\)/,
  )
  t.match((await routing.weir(['status'])).stdout, /refused .*last good stays/)
  await expectEvent(t, 'ConfigRefused', /pers/)
  await routing.bothSee('65101:101')
  await routing.restartAgent()
  await routing.bothSee('65101:101')
  t.match((await routing.configuration()).file.refused?.message, /pers/, 'also for the next agent')
  routing.writeFile({ announce: announce('65101:101') })
  await bed.until('the mended file', async () => (await routing.configuration()).file.refused === undefined)
})

const candidate = (community: string) =>
  stringify({ routing: { ...original.routing, peers, announce: announce(community) } })

t.test('a trial: seen before it acts, in force at once, rolled back by itself', async (t) => {
  const diff = await routing.weir(['bgp', 'diff'], candidate('65101:200'))
  t.equal(diff.status, 1, 'as diff(1) says that there are differences')
  t.match(diff.stdout, new RegExp(`~ ${podCidr} +65101:101 → 65101:200 +pods of this node`))
  t.match(diff.stdout, /frr \(.*\): its session stays as it is/)
  await routing.bothSee('65101:101')
  const applied = await routing.weir(['bgp', 'apply', '--confirm', '5s'], candidate('65101:200'))
  t.match(applied, { status: 0, stdout: /on trial until/ })
  await routing.bothSee('65101:200')
  await routing.bothSee('65101:101')
  t.equal((await routing.configuration()).candidate, undefined)
  t.match(await routing.weir(['bgp', 'confirm']), { status: 1, stderr: /nothing waits to be confirmed/ })
  t.match(await routing.weir(['bgp', 'apply'], 'routing: { pers: [] }'), {
    status: 1,
    stderr: /did you mean 'peers'/,
  })
})

t.test('a trial whose agent dies is rolled back by the next one', async (t) => {
  await routing.weir(['bgp', 'apply', '--confirm', '20s'], candidate('65101:201'))
  await routing.bothSee('65101:201')
  await routing.restartAgent()
  t.equal(await routing.seenByFrr(), '65101:201', 'the deadline is the one that was given')
  await routing.bothSee('65101:101')
})

t.test('confirmed, it stays, also for the next agent; rolled back, the file counts', async (t) => {
  await routing.weir(['bgp', 'apply', '--confirm', '60s'], candidate('65101:202'))
  t.match(await routing.weir(['bgp', 'confirm']), { status: 0 })
  await routing.restartAgent()
  await routing.bothSee('65101:202')
  t.match(await routing.weir(['bgp', 'rollback']), { status: 0 })
  await routing.bothSee('65101:101')
})

t.test('peers follow the labels of the Node; the other session does not notice', async (t) => {
  const before = await routing.establishments()
  const [frr, bird] = peers
  routing.writeFile({
    announce: announce('65101:101'),
    peers: [frr, { ...bird, nodeSelector: { matchLabels: { uplink: 'both' } } }],
  })
  await bed.until('the session with BIRD to end', async () => !(await routing.birdIsEstablished()))
  await bed.kubectl('label', 'node', 'node1', 'uplink=both')
  await bed.until('it to come back', () => routing.birdIsEstablished())
  await routing.bothSee('65101:101')
  t.equal(await routing.establishments(), before)
})

/** As manifests/ say: each Secret with a password is named in a Role. */
async function grantSecret(name: string): Promise<void> {
  const patch = [{ op: 'add', path: '/rules/0/resourceNames/-', value: name }]
  const where = ['role', 'weir-bgp-passwords', '-n', 'kube-system']
  await bed.kubectl('patch', ...where, '--type=json', '-p', JSON.stringify(patch))
}

t.test('a password from a Secret, and its change', async (t) => {
  const { frrAsn } = routing
  const setPassword = (text: string) =>
    routing.vtysh('configure terminal', `router bgp ${frrAsn}`, `neighbor ${ownToFrr} password ${text}`)
  const secret = (text: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'tor-password', namespace: 'kube-system' },
    data: { password: Buffer.from(text).toString('base64') },
  })
  const [frr, bird] = peers
  await setPassword('first')
  await bed.until('no path without the password', async () => (await routing.seenByFrr()) === undefined)
  await grantSecret('tor-password')
  await bed.apply(secret('first'))
  routing.writeFile({
    announce: announce('65101:101'),
    peers: [{ ...frr, password: { secret: { name: 'tor-password' } } }, bird],
  })
  await routing.bothSee('65101:101')
  await setPassword('second')
  await bed.until('no path with the old password', async () => (await routing.seenByFrr()) === undefined)
  await bed.apply(secret('second'))
  await routing.bothSee('65101:101')
  const status = JSON.stringify(await bed.agent('node1', '/v1/status'))
  t.notMatch(status, /first|c2Vjb25k/, 'passwords are told nowhere')
  await routing.vtysh('configure terminal', `router bgp ${frrAsn}`, `no neighbor ${ownToFrr} password`)
  routing.writeFile({ announce: announce('65101:101') })
  await routing.bothSee('65101:101')
})

t.test('a pool that comes: its address, its attributes, and those of the Service itself', async (t) => {
  const [whole = ''] = original.pools[0]?.prefixes.filter((prefix) => !prefix.includes(':')) ?? []
  const [network = '', length] = whole.split('/')
  const upper = network.replace(/\.0$/, '.128')
  const pools = [
    { name: 'default', prefixes: [`${network}/${Number(length) + 1}`] },
    {
      name: 'extra',
      prefixes: [`${upper}/${Number(length) + 1}`],
      attributes: { communities: ['65101:501'], med: 50 },
    },
  ]
  const rules = [{ kinds: ['loadBalancerIP'], attributes: { communities: ['65101:500'] } }]
  routing.writeFile({ announce: rules }, { pools })
  // Whoever holds the Lease gives addresses out by its own file.
  const otherFile = `${bed.rack.host('node2').directory}/agent.yaml`
  const before = readFileSync(otherFile, 'utf8')
  writeFileSync(otherFile, stringify({ ...(parse(before) as object), pools }))
  const annotations = {
    'weir.network/address-pool': 'extra',
    'weir.network/bgp-communities': '65101:502',
    'weir.network/bgp-med': '60',
  }
  const ipv4 = { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] }
  await bed.apply(
    pod('web', { node: 'node1' }),
    service('web', { type: 'LoadBalancer', selector: { app: 'web' }, ...ipv4 }, { annotations }),
  )
  const [vip = ''] = await bed.vips('web', 'default', 1)
  t.ok(
    vip.startsWith(upper.replace(/128$/, '')) && Number(vip.split('.')[3]) >= 128,
    `${vip} is of the new pool`,
  )
  await bed.until(
    'FRR to see what pool, rule and Service say',
    async () => (await routing.seenByFrr(`${vip}/32`)) === '65101:500 65101:501 65101:502',
  )
  t.equal((await routing.frrPath(`${vip}/32`))?.metric, 60, 'the Service has the last word')
  await bed.delete(service('web'))
  await bed.until('the VIP to be gone', async () => (await routing.seenByFrr(`${vip}/32`)) === undefined)
  writeFileSync(otherFile, before)
})

t.test("kube-router's annotations are followed, live", async (t) => {
  const list = peers.map(({ address, asn, localAddress }) => ({
    remoteip: address,
    remoteasn: asn,
    localip: localAddress,
  }))
  const annotate = (community: string) =>
    bed.kubectl(
      ...['annotate', 'node', 'node1', '--overwrite'],
      `kube-router.io/node.asn=${original.routing['asn']}`,
      `kube-router.io/peers=${stringify(list)}`,
      `kube-router.io/node.bgp.communities=${community}`,
    )
  await annotate('65101:300')
  const kubeRouter = { enabled: true, nodesFullMesh: false, enableIbgp: false }
  routing.writeFile({ asn: undefined, peers: [], sources: { kubeRouter } })
  await routing.bothSee('65101:300')
  await annotate('65101:301')
  await routing.bothSee('65101:301')
  t.strictSame((await routing.configuration()).problems, [])
})

t.test("Cilium's kinds are missed, noticed and followed, live", async (t) => {
  const kinds = [
    'CiliumBGPClusterConfig',
    'CiliumBGPPeerConfig',
    'CiliumBGPAdvertisement',
    'CiliumBGPNodeConfigOverride',
  ]
  routing.writeFile({ sources: { cilium: { enabled: true } } })
  const lacking = async () =>
    (await routing.configuration()).problems.filter(({ why }) => why.startsWith('the cluster has no kind'))
  await bed.until('the kinds to be missed', async () => (await lacking()).length === 1)
  t.match(await lacking(), [{ why: /ciliumbgpclusterconfigs.cilium.io, .*Mend: install Cilium's CRDs/ }])
  await bed.apply(...kinds.map(ciliumCrd))
  await bed.until('them to be noticed', async () => (await lacking()).length === 0)
  const object = (kind: string, name: string, spec: object, labels = {}) => ({
    apiVersion: 'cilium.io/v2',
    kind,
    metadata: { name, labels },
    spec,
  })
  const advertisement = (community: string) =>
    object(
      'CiliumBGPAdvertisement',
      'pods',
      {
        advertisements: [
          { advertisementType: 'PodCIDR', attributes: { communities: { standard: [community] } } },
        ],
      },
      { advertise: 'bgp' },
    )
  await bed.until('the kinds to be served', () =>
    bed
      .apply(
        object('CiliumBGPClusterConfig', 'fabric', {
          nodeSelector: { matchLabels: { uplink: 'both' } },
          bgpInstances: [
            {
              name: 'main',
              localASN: original.routing['asn'],
              peers: peers.map(({ name, address, asn }) => ({
                ...{ name, peerAddress: address, peerASN: asn },
                peerConfigRef: { name: 'tor' },
              })),
            },
          ],
        }),
        object('CiliumBGPPeerConfig', 'tor', {
          timers: { connectRetryTimeSeconds: 5, holdTimeSeconds: 9, keepAliveTimeSeconds: 3 },
          families: [{ afi: 'ipv4', safi: 'unicast', advertisements: { matchLabels: { advertise: 'bgp' } } }],
        }),
        advertisement('65101:400'),
      )
      .then(
        () => true,
        () => false,
      ),
  )
  await bed.kubectl('annotate', 'node', 'node1', 'kube-router.io/peers-')
  routing.writeFile({ asn: undefined, peers: [], sources: { cilium: { enabled: true } } })
  // Which of the two holds the Lease, and writes conditions, is not known.
  const otherFile = `${bed.rack.host('node2').directory}/agent.yaml`
  const other = parse(readFileSync(otherFile, 'utf8')) as { routing: object }
  writeFileSync(
    otherFile,
    stringify({ ...other, routing: { ...other.routing, sources: { cilium: { enabled: true } } } }),
  )
  await routing.restartAgent()
  await routing.bothSee('65101:400')
  await bed.apply(advertisement('65101:401'))
  await routing.bothSee('65101:401')
  const condition = async (kind: string, name: string, type: string) => {
    const { status } = await bed.get<{ status?: { conditions?: { type: string; status: string }[] } }>(
      kind,
      name,
    )
    return status?.conditions?.find((one) => one.type === `cilium.io/${type}`)?.status
  }
  await bed.until(
    'the conditions that Cilium writes',
    async () =>
      (await condition('ciliumbgpclusterconfigs', 'fabric', 'MissingPeerConfigs')) === 'False' &&
      (await condition('ciliumbgppeerconfigs', 'tor', 'MissingAuthSecret')) === 'False',
  )
  await grantSecret('not-there')
  await bed.patch('ciliumbgppeerconfigs', 'tor', { spec: { authSecretRef: 'not-there' } })
  await bed.until(
    'the missing Secret to be told of',
    async () => (await condition('ciliumbgppeerconfigs', 'tor', 'MissingAuthSecret')) === 'True',
  )
  await bed.patch('ciliumbgppeerconfigs', 'tor', { spec: { authSecretRef: null } })
  t.strictSame((await routing.configuration()).problems, [])
})
