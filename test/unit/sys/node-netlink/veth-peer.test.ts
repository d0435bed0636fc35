// Offload features, and finding the other end of a veth.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { withNetworkNamespace } from '../../../../src/sys/libc/namespaces.ts'
import { readFeatures, writeFeatures } from '../../../../src/sys/node-netlink/ethtool.ts'
import { findVethPeer } from '../../../../src/sys/node-netlink/veth-peer.ts'
import { makeNamespace, makeVeth } from './namespace.ts'

t.test('offload features are read and written', async (t) => {
  const { netlink, path, name } = makeNamespace(t)
  await makeVeth(netlink)
  const off = {
    genericReceiveOffload: false,
    genericSegmentationOffload: false,
    tcpSegmentationOffload: false,
    transmitChecksumOffload: false,
  }
  const read = () => withNetworkNamespace(path, () => readFeatures('near'))
  t.match(read(), {
    ...off,
    transmitChecksumOffload: true,
    tcpSegmentationOffload: true,
    genericSegmentationOffload: true,
  })
  withNetworkNamespace(path, () => writeFeatures('near', off))
  t.same(read(), off)
  const shown = execFileSync('nsenter', [`--net=/run/netns/${name}`, 'ethtool', '-k', 'near'], {
    encoding: 'utf8',
  })
  for (const feature of [
    'tx-checksumming',
    'tx-tcp-segmentation',
    'generic-segmentation-offload',
    'generic-receive-offload',
  ]) {
    t.match(shown, `${feature}: off`)
  }
  withNetworkNamespace(path, () => writeFeatures('near', { genericReceiveOffload: true }))
  t.same(read(), { ...off, genericReceiveOffload: true })
  t.throws(() => withNetworkNamespace(path, () => readFeatures('absent')), {
    code: 'ENODEV',
    message: /of absent/,
  })
})

t.test('the peer is found in the same namespace and in a named one', async (t) => {
  const { netlink } = makeNamespace(t)
  const other = makeNamespace(t)
  await makeVeth(netlink)
  await netlink.links.create({
    kind: 'veth',
    name: 'host',
    peer: { name: 'eth0', mac: '02:00:00:00:00:05', namespacePath: other.path },
  })
  const near = (await netlink.links.get('near'))?.index ?? 0
  const local = await findVethPeer(netlink, near)
  t.match(local, { link: { name: 'far' }, acceptsRedirects: false })

  const host = (await netlink.links.get('host'))?.index ?? 0
  const pod = { namespacePath: other.path, link: { name: 'eth0', mac: '02:00:00:00:00:05' } }
  t.match(await findVethPeer(netlink, host), { ...pod, acceptsRedirects: false })
  withNetworkNamespace(other.path, () => writeFeatures('eth0', { genericReceiveOffload: true }))
  t.match(await findVethPeer(netlink, host), { ...pod, acceptsRedirects: true })
})

t.test('the peer is found in a namespace that only a process holds', async (t) => {
  const { netlink } = makeNamespace(t)
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  t.teardown(() => holder.kill())
  await once(holder.stdout, 'data')
  const path = `/proc/${holder.pid}/ns/net`
  await netlink.links.create({ kind: 'veth', name: 'host', peer: { name: 'eth0', namespacePath: path } })
  const host = (await netlink.links.get('host'))?.index ?? 0
  t.match(await findVethPeer(netlink, host), { namespacePath: path, link: { name: 'eth0' } })
  await t.rejects(
    findVethPeer(netlink, host, { directories: { named: ['/run/netns'], processes: '/run/netns' } }),
    {
      code: 'NOT_FOUND',
      message: /find the peer of host: .*share the host's process namespace/,
    },
  )
})

t.test('what has no peer is told', async (t) => {
  const { netlink } = makeNamespace(t)
  await t.rejects(findVethPeer(netlink, 1), { code: 'NOT_FOUND' })
  await t.rejects(findVethPeer(netlink, 4242), { code: 'NOT_FOUND' })
})
