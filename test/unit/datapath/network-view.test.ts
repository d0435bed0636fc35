// Which devices lead to pods, by routes and by bridges, which of them socket buffers may skip, and how links are, read from a real kernel.

import { execFileSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { NetworkView } from '../../../src/datapath/network-view.ts'
import { type Address, address } from '../../../src/model/address.ts'
import type { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { makeNamespace } from '../sys/node-netlink/namespace.ts'

const POD = address('10.244.0.5')
const DEADLINE_MS = 8000

/** What is seen of a namespace. */
async function watch(
  test: Test,
  netlink: Netlink,
  onProblem: (action: string, error: unknown) => void,
  isPod: (address: Address) => boolean = () => false,
) {
  let changed = () => {}
  const view = new NetworkView({ netlink, uplinkNames: [], isPod, onChange: () => changed(), onProblem })
  await view.start()
  test.teardown(() => view.close())
  /** @param tell what there is instead */
  const until = async (wanted: string, isSo: () => boolean, tell: () => string) => {
    const deadline = Date.now() + DEADLINE_MS
    while (!isSo()) {
      if (Date.now() > deadline) throw new Error(`not seen: ${wanted}, but ${tell()}`)
      await new Promise<void>((resolve) => {
        changed = resolve
        setTimeout(resolve, 100)
      })
    }
    test.pass(wanted)
  }
  return { view, until }
}

/** A veth between two namespaces, up on this side. */
const joinTo = (netlink: Netlink, namespacePath: string) =>
  netlink.links.create({ kind: 'veth', name: 'near', isUp: true, peer: { name: 'far', namespacePath } })

/** A node with a route to a pod over a veth, and what it sees of it. */
async function watchPod(test: Test, isInNamespaceOfItsOwn: boolean) {
  const node = makeNamespace(test)
  const pod = isInNamespaceOfItsOwn ? makeNamespace(test) : node
  const { netlink } = node
  await joinTo(netlink, pod.path)
  const index = (await netlink.links.get('near'))?.index ?? 0
  await netlink.routes.add({ destination: `${POD}/32`, nextHops: [{ index }] })
  const problems: unknown[] = []
  const { view, until } = await watch(test, netlink, (_action, error) => problems.push(error))
  /** The pod's row, once it has been looked at and is like this. */
  const untilBypass = (mayBypass: boolean) =>
    until(
      `mayBypass: ${mayBypass}`,
      () => view.facts().pods[0]?.mayBypass === mayBypass,
      () => JSON.stringify(view.facts().unknownPods),
    )
  const tc = (...args: string[]) => execFileSync('tc', ['-n', node.name, 'qdisc', ...args])
  return { until: untilBypass, tc, problems }
}

t.test('a device is skipped as long as no queue of its own shapes what goes in', async (t) => {
  const { until, tc, problems } = await watchPod(t, true)
  await until(true)
  tc('add', 'dev', 'near', 'root', 'tbf', 'rate', '10mbit', 'burst', '32kb', 'latency', '50ms')
  await until(false)
  tc('delete', 'dev', 'near', 'root')
  await until(true)
  tc('add', 'dev', 'near', 'clsact')
  await until(true)
  t.same(problems, [])
})

t.test('a device whose other end is in the same namespace is not skipped', async (t) => {
  const { until, problems } = await watchPod(t, false)
  await until(false)
  t.same(problems, [])
})

t.test('pods behind a bridge: ports whose other end has a pod’s address', async (t) => {
  const node = makeNamespace(t)
  const pods = [makeNamespace(t), makeNamespace(t)] as const
  const ip = (name: string, line: string) => execFileSync('ip', ['-n', name, ...line.split(' ')])
  ip(node.name, 'link add cni0 address 0a:58:0a:f4:00:01 type bridge')
  ip(node.name, 'link set cni0 up')
  for (const [index, { name }] of pods.entries()) {
    ip(node.name, `link add p${index} type veth peer eth0 address 0a:00:00:00:00:0${index} netns ${name}`)
    ip(node.name, `link set p${index} master cni0 up`)
    ip(name, 'link set eth0 up')
    ip(name, `address add 10.244.0.${5 + index}/24 dev eth0`)
  }
  // The second is somebody else's container.
  const known = new Set([POD])
  const { view, until } = await watch(
    t,
    node.netlink,
    (action, error) => t.fail(`${action}: ${error}`),
    (one) => known.has(one),
  )
  const found = () =>
    view.facts().pods.map(({ address: one, ifindex, hostMac, podMac, mayBypass }) => {
      const macs = [podMac, hostMac].map((mac) => Buffer.from(mac).toString('hex'))
      return [view.linkNames().get(ifindex), one, ...macs, mayBypass].join(' ')
    })
  const becomes = (what: string, ...wanted: readonly string[]) =>
    until(
      what,
      () => found().join() === wanted.join(),
      () => found().join(),
    )
  const first = `p0 ${POD} 0a0000000000 0a580af40001 true`
  t.strictSame(found(), [first], 'known as soon as it has begun')
  t.same(view.devices(), [{ ...view.devices()[0], name: 'p0', kind: 'pod' }])
  const late = address('fd00::6')
  ip(pods[1].name, `address add ${late}/64 dev eth0 nodad`)
  known.add(late)
  view.podsChanged()
  await becomes('another, whose address came later', first, `p1 ${late} 0a0000000001 0a580af40001 true`)
  ip(pods[1].name, `address add ${POD}/24 dev eth0`)
  ip(node.name, 'link set cni0 address 0a:58:0a:f4:00:02')
  await becomes(
    'the bridge has another MAC, and nobody takes the address of one who has it',
    first.replace('0001', '0002'),
    `p1 ${late} 0a0000000001 0a580af40002 true`,
  )
  ip(node.name, 'link set p1 nomaster')
  await becomes('one left the bridge', first.replace('0001', '0002'))
  ip(node.name, 'link delete p0')
  await becomes('one is gone')
})

t.test('how a link is', async (t) => {
  const here = makeNamespace(t)
  const there = makeNamespace(t)
  const { netlink } = here
  await joinTo(netlink, there.path)
  await there.netlink.links.change('far', { isUp: true })
  const { view, until } = await watch(t, netlink, (action, error) => t.fail(`${action}: ${error}`))
  const becomes = (state: ReturnType<typeof view.linkState>) =>
    until(
      `${state}`,
      () => view.linkState('near') === state,
      () => `${view.linkState('near')}`,
    )
  await becomes('up')
  await there.netlink.links.change('far', { isUp: false })
  await becomes('no-carrier')
  await netlink.links.change('near', { isUp: false })
  await becomes('down')
  await netlink.links.delete('near')
  await becomes(undefined)
})
