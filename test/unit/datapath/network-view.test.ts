// Which pods' devices socket buffers may skip, and how links are, read from a real kernel.

import { execFileSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { NetworkView } from '../../../src/datapath/network-view.ts'
import { address } from '../../../src/model/address.ts'
import { makeNamespace } from '../sys/node-netlink/namespace.ts'

const POD = address('10.244.0.5')
const DEADLINE_MS = 8000

/** A node with a route to a pod over a veth, and what it sees of it. */
async function watchPod(test: Test, isInNamespaceOfItsOwn: boolean) {
  const node = makeNamespace(test)
  const pod = isInNamespaceOfItsOwn ? makeNamespace(test) : node
  const { netlink } = node
  await netlink.links.create({
    kind: 'veth',
    name: 'near',
    isUp: true,
    peer: { name: 'far', namespacePath: pod.path },
  })
  const index = (await netlink.links.get('near'))?.index ?? 0
  await netlink.routes.add({ destination: `${POD}/32`, nextHops: [{ index }] })
  const problems: unknown[] = []
  let changed = () => {}
  const view = new NetworkView({
    netlink,
    uplinkNames: [],
    onChange: () => changed(),
    onProblem: (_action, error) => problems.push(error),
  })
  await view.start()
  test.teardown(() => view.close())
  /** The pod's row, once it has been looked at and is like this. */
  const until = async (mayBypass: boolean) => {
    const deadline = Date.now() + DEADLINE_MS
    while (view.facts().pods[0]?.mayBypass !== mayBypass) {
      if (Date.now() > deadline) throw new Error(`not seen: ${JSON.stringify(view.facts().unknownPods)}`)
      await new Promise<void>((resolve) => {
        changed = resolve
        setTimeout(resolve, 100)
      })
    }
    test.pass(`mayBypass: ${mayBypass}`)
  }
  const tc = (...args: string[]) => execFileSync('tc', ['-n', node.name, 'qdisc', ...args])
  return { until, tc, problems }
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

t.test('how a link is', async (t) => {
  const here = makeNamespace(t)
  const there = makeNamespace(t)
  const { netlink } = here
  await netlink.links.create({
    kind: 'veth',
    name: 'near',
    isUp: true,
    peer: { name: 'far', namespacePath: there.path },
  })
  await there.netlink.links.change('far', { isUp: true })
  let changed = () => {}
  const view = new NetworkView({
    netlink,
    uplinkNames: [],
    onChange: () => changed(),
    onProblem: (action, error) => t.fail(`${action}: ${error}`),
  })
  await view.start()
  t.teardown(() => view.close())
  const becomes = async (state: ReturnType<typeof view.linkState>) => {
    const deadline = Date.now() + DEADLINE_MS
    while (view.linkState('near') !== state) {
      if (Date.now() > deadline) throw new Error(`is ${view.linkState('near')}, not ${state}`)
      await new Promise<void>((resolve) => {
        changed = resolve
        setTimeout(resolve, 100)
      })
    }
    t.pass(`${state}`)
  }
  await becomes('up')
  await there.netlink.links.change('far', { isUp: false })
  await becomes('no-carrier')
  await netlink.links.change('near', { isUp: false })
  await becomes('down')
  await netlink.links.delete('near')
  await becomes(undefined)
})
