// Others on the node, found in namespaces of their own: foreign programs, kube-proxy's rules in every form, Services' addresses on
// interfaces. Nothing of theirs is touched.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Attachments } from '../../../src/datapath/attach.ts'
import { findAddressOwners, findNodeAddress } from '../../../src/datapath/neighbours/addresses.ts'
import { hasLegacyChain } from '../../../src/datapath/neighbours/legacy-iptables.ts'
import { findClassifiers, findPrograms } from '../../../src/datapath/neighbours/programs.ts'
import { findProxies } from '../../../src/datapath/neighbours/proxies.ts'
import { address } from '../../../src/model/address.ts'
import { cgroupMount } from '../../../src/sandbox/host.ts'
import {
  attachClsact,
  attachTcx,
  attachXdp,
  type BpfProgram,
  openObject,
  supportsTcx,
} from '../../../src/sys/libbpf-ts/index.ts'
import { withNetworkNamespace } from '../../../src/sys/libc/namespaces.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { Nftables } from '../../../src/sys/node-netlink/nftables.ts'

const OBJECTS = new URL('../../../build/bpf/', import.meta.url).pathname

function makeNamespace(t: Test, name: string) {
  const namespace = `weir-t${process.pid}-${name}`
  execFileSync('ip', ['netns', 'add', namespace])
  t.teardown(() => execFileSync('ip', ['netns', 'delete', namespace]))
  const path = `/run/netns/${namespace}`
  return {
    path,
    inside: <T>(action: () => T) => withNetworkNamespace(path, action),
    run: (...argv: string[]) => execFileSync('ip', ['netns', 'exec', namespace, ...argv], { stdio: 'pipe' }),
  }
}

function program(t: Test, file: string, name: string): BpfProgram {
  const object = openObject(`${OBJECTS}${file}`).load()
  t.teardown(() => object.close())
  return object.program(name)
}

t.test(
  'programs of others at our places, by their order',
  { skip: !supportsTcx() && 'no tcx' },
  async (t) => {
    const { path, inside, run } = makeNamespace(t, 'programs')
    run('ip', 'link', 'add', 'up0', 'index', '11', 'type', 'veth', 'peer', 'up0far')
    run('ip', 'link', 'add', 'pod0', 'index', '12', 'type', 'veth', 'peer', 'pod0far')
    const bpffs = `/sys/fs/bpf/weir-test-neighbours-${process.pid}`
    t.teardown(() => rmSync(bpffs, { recursive: true, force: true }))
    const netlink = new Netlink({ namespacePath: path })
    t.teardown(() => netlink.close())
    const ours = program(t, 'weir_tc.bpf.o', 'weir_pod_tc')
    const theirs = program(t, 'weir_tc.bpf.o', 'weir_pod_tc')
    const theirXdp = program(t, 'weir_xdp.bpf.o', 'weir_uplink_xdp')
    const attachments = new Attachments(bpffs, true)
    t.teardown(() => attachments.close())
    const find = async () => {
      const places = {
        devices: [
          { name: 'up0', ifindex: 11, kind: 'uplink' },
          { name: 'pod0', ifindex: 12, kind: 'pod' },
        ] as const,
        cgroup: cgroupMount(),
        ours: attachments.programIds,
      }
      const found = [
        ...inside(() => findPrograms(places)),
        ...(await findClassifiers(places, netlink.trafficControl)),
      ]
      return found.map(({ kind, where, what }) => `${kind} ${where}: ${what.replace(/id \d+/, 'id')}`)
    }
    const attachOurs = () => inside(() => attachments.attachPods(ours, new Set([12])))

    const early = inside(() => attachTcx(theirs, 12, 'ingress'))
    attachOurs()
    const mine = "program 'weir_pod_tc' (id)"
    t.strictSame(
      await find(),
      [`tc-program pod's device pod0: ${mine} runs at tcx ingress, after ours`],
      'ours stands first',
    )
    early.detach()
    early.close()
    const late = inside(() => attachTcx(theirs, 12, 'ingress'))
    t.match(await find(), [/before ours, which it may keep from running/])
    late.detach()
    late.close()
    t.strictSame(await find(), [])

    const xdp = inside(() => attachXdp(theirXdp, 11))
    inside(() => attachClsact(theirs, { ifindex: 12, direction: 'egress', priority: 7, handle: 3 }))
    t.strictSame(await find(), [
      "xdp-program uplink up0: program 'weir_uplink_xdp' (id, native) holds XDP there, where ours belongs",
      "tc-program pod's device pod0: program 'weir_pod_tc' (id) is a classifier at egress (priority 7, handle 3)",
    ])
    xdp.close()
  },
)

t.test('kube-proxy’s rules in each form, and nothing for kubelet’s', async (t) => {
  const { path, inside, run } = makeNamespace(t, 'rules')
  const nftables = new Nftables(path)
  t.teardown(() => nftables.close())
  const rules = async () =>
    (await findProxies(nftables)).filter(({ kind }) => kind === 'kube-proxy-rules').map(({ where }) => where)
  t.strictSame(await rules(), [])
  run('nft', 'add', 'table', 'ip', 'nat')
  run('nft', 'add', 'chain', 'ip', 'nat', 'KUBE-KUBELET-CANARY')
  t.strictSame(await rules(), [], 'kubelet’s own chain')
  run('nft', 'add', 'chain', 'ip', 'nat', 'KUBE-SERVICES')
  t.strictSame(await rules(), ['iptables (nft)'])
  run('nft', 'add', 'table', 'ip6', 'kube-proxy')
  t.strictSame(await rules(), ['iptables (nft)', 'nftables (ipv6)'])
  t.equal(
    inside(() => hasLegacyChain('ipv4', 'nat', 'KUBE-SERVICES')),
    false,
    'nothing of the old form',
  )
  for (const [family, command] of [
    ['ipv4', 'iptables-legacy'],
    ['ipv6', 'ip6tables-legacy'],
  ] as const) {
    if (spawnSync(command, ['--version']).status !== 0) continue
    run(command, '-t', 'nat', '-N', 'OTHER-SERVICES')
    const has = () => inside(() => hasLegacyChain(family, 'nat', 'KUBE-SERVICES'))
    t.equal(has(), false, `${command}: another chain`)
    run(command, '-t', 'nat', '-N', 'KUBE-SERVICES')
    t.equal(has(), true, command)
  }
})

t.test('processes that do the same, in our namespace alone', async (t) => {
  const nftables = new Nftables()
  t.teardown(() => nftables.close())
  const directory = mkdtempSync(join(tmpdir(), 'kube-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const copy = join(directory, 'kube-router')
  copyFileSync('/bin/sleep', copy)
  const found = async () =>
    (await findProxies(nftables)).filter(({ kind }) => kind === 'process').map(({ where }) => where)
  const here = spawn(copy, ['60'])
  const { path } = makeNamespace(t, 'elsewhere')
  const elsewhere = spawn('nsenter', [`--net=${path}`, copy, '60'])
  t.teardown(() => {
    here.kill()
    elsewhere.kill()
  })
  while (readFileSync(`/proc/${elsewhere.pid}/comm`, 'utf8') !== 'kube-router\n') await sleep(10)
  const seen = await found()
  t.ok(seen.includes(`process ${here.pid}`))
  t.notOk(seen.includes(`process ${elsewhere.pid}`))
})

t.test('a Service’s address on an interface of this node', async (t) => {
  const vip = address('203.0.113.1')
  const served = [
    { address: vip, service: 'shop/web' },
    { address: vip, service: 'shop/dns' },
    { address: address('203.0.113.2'), service: 'shop/other' },
  ]
  const local = [
    { address: vip, link: 'kube-ipvs0' },
    { address: address('10.255.0.1'), link: 'lo' },
  ]
  const [found, ...more] = findAddressOwners(local, served)
  t.equal(more.length, 0)
  t.match(found, {
    kind: 'address-owner',
    where: 'interface kube-ipvs0',
    what: /203\.0\.113\.1, an address of Service shop\/web, shop\/dns \(kube-proxy in IPVS mode\)/,
    mend: /^ip address del 203\.0\.113\.1\/32 dev kube-ipvs0/,
    services: ['shop/web', 'shop/dns'],
  })
})

t.test('a Node known by another address than the one that tunnels', async (t) => {
  const own = [address('10.255.0.1'), address('fd00:255::1')]
  t.strictSame(findNodeAddress(own, own), [])
  t.strictSame(findNodeAddress(own, []), [], 'not known yet')
  t.match(findNodeAddress(own, [address('10.255.0.9'), address('fd00:255::1')]), [
    { what: /InternalIP is 10\.255\.0\.9, fd00:255::1, but this node tunnels from 10\.255\.0\.1,/ },
  ])
})
