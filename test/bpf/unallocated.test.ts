// Addresses that no Service has, inside ServiceCIDRs: dropped at the uplink, whatever comes for them.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { ServiceCidrs } from '../../src/datapath/service-cidrs.ts'
import { address, type Prefix } from '../../src/model/address.ts'
import { checkCase } from './check.ts'
import { SCTP, TCP, UDP } from './packet.ts'
import { World, XDP } from './world.ts'

const world = new World('unallocated')
t.teardown(() => world.close())
const R = abi.VerdictReason
const tables = datapathTables((name) => world.map(name))
const cidrs = new ServiceCidrs(tables.serviceCidrs, new FrontendFilter(tables.filter))

const PLACES = {
  ipv4: {
    cidr: '10.96.0.0/14',
    inside: ['10.96.0.1', '10.99.255.254'],
    outside: ['10.100.0.1', '10.95.0.1'],
  },
  ipv6: {
    cidr: 'fd00:96::/112',
    inside: ['fd00:96::1', 'fd00:96::ffff'],
    outside: ['fd00:96::1:1', 'fd00:97::1'],
  },
} as const

for (const family of ['ipv4', 'ipv6'] as const)
  t.test(`SVC-020 ${family}: an unallocated address of a ServiceCIDR is dropped`, async (t) => {
    const { cidr, inside, outside } = PLACES[family]
    const echo = family === 'ipv4' ? 8 : 128
    const sent = (to: string) => {
      const packets = [TCP, UDP, SCTP].map((protocol) =>
        world.request(family, protocol, 80).to(address(to), 80),
      )
      const ping = world.request(family, TCP, 80).to(address(to)).icmp(echo, 0, Buffer.alloc(20))
      const later = world.request(family, UDP, 80).to(address(to)).fragment(0x0010)
      return [...packets, ping, later]
    }
    const check = (to: string, verdict: number, reason: number) => {
      for (const one of sent(to))
        checkCase(world, t, { name: `${to} ${one.fields.protocol}`, sent: one, verdict, reason })
    }
    cidrs.set(new Set())
    check(inside[0], XDP.PASS, R.REASON_NOT_OURS)
    cidrs.set(new Set([cidr as Prefix]))
    for (const to of inside) check(to, XDP.DROP, R.REASON_UNALLOCATED_ADDRESS)
    for (const to of outside) check(to, XDP.PASS, R.REASON_NOT_OURS)
    cidrs.set(new Set())
    check(inside[0], XDP.PASS, R.REASON_NOT_OURS)
  })
