// What the kernel holds of learned routes against what it should hold, with a kernel that only remembers; and two unnumbered links of
// a real one, whose routers have the same link-local address.

import { execFileSync } from 'node:child_process'
import t from 'tap'
import type { Prefix } from '../../../src/model/address.ts'
import { kernelRoutes, RouteWriter } from '../../../src/speaker/kernel-routes.ts'
import type { LearnedNextHop, LearnedRoute } from '../../../src/speaker/learned-routes.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { Bed, cidr } from './bed.ts'

const PREFIX = cidr('10.200.1.0/24')
/** Many routers give themselves this one on every link. */
const GATEWAY = 'fe80::1'

const wanted = (...nextHops: LearnedNextHop[]): ReadonlyMap<Prefix, LearnedRoute> =>
  new Map([[PREFIX, { prefix: PREFIX, family: 'ipv4', nextHops }]])

t.test('a link-local next hop is another one on another link', async (t) => {
  const bed = new Bed()
  t.teardown(() => bed.close())
  const node = bed.addNamespace('unnumbered')
  const ip = (...argv: string[]) => execFileSync('ip', ['-n', node, ...argv], { encoding: 'utf8' })
  for (const name of ['up1', 'up2']) {
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-far`)
    for (const end of [name, `${name}-far`]) ip('link', 'set', end, 'up')
  }
  const netlink = new Netlink({ namespacePath: `/run/netns/${node}` })
  t.teardown(() => netlink.close())
  const links = await netlink.links.list()
  const on = (name: string): LearnedNextHop => ({
    gateway: GATEWAY,
    index: links.find((link) => link.name === name)?.index ?? 0,
  })
  const writer = new RouteWriter(kernelRoutes(netlink))
  const kernel = () => ip('route', 'show', `${PREFIX}`).trim()

  await writer.writeAll(wanted(on('up1')), true)
  t.match(kernel(), /via inet6 fe80::1 dev up1/)
  await writer.write([PREFIX], wanted(on('up2')), true)
  t.match(kernel(), /via inet6 fe80::1 dev up2/, 'moved in a change')
  await writer.writeAll(wanted(on('up1')), true)
  t.match(kernel(), /via inet6 fe80::1 dev up1/, 'and in a look at everything')
  await writer.writeAll(wanted(on('up1'), on('up2')), false)
  t.match(kernel(), /dev up1.*dev up2/s, 'both')
  await writer.writeAll(wanted(on('up2')), false)
  t.match(kernel(), /dev up1.*dev up2/s, 'nothing is taken away yet')
  await writer.writeAll(wanted(on('up2')), true)
  t.notMatch(kernel(), /dev up1/)
  t.same(writer.failures, [])
})
