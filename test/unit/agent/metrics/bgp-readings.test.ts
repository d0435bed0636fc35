// Metrics of routing: what is told of each peer and family, of announcements and refusals; and the look at gobgpd before a scrape.

import t from 'tap'
import { BgpFactsCache } from '../../../../src/agent/bgp-facts.ts'
import { describePeers } from '../../../../src/agent/bgp-peers-view.ts'
import { type BgpFacts, bgpReadings } from '../../../../src/agent/metrics/bgp-readings.ts'
import { exposition } from '../../../../src/agent/metrics/exposition.ts'
import type { Address } from '../../../../src/model/address.ts'
import { peerOf, routingOf } from '../../speaker/bed.ts'
import { sessionOf } from '../bgp-session.ts'

const fail = (name: string, error: unknown) => {
  throw new Error(`${name}: ${error}`)
}

const FACTS: BgpFacts = {
  peers: describePeers({
    node: 'node1',
    routing: routingOf([peerOf('tor1', '10.0.0.0'), peerOf('tor2', '10.0.0.2')], {
      bmp: [{ address: '192.0.2.1' as Address, port: 11019 }],
    }),
    status: {
      connected: true,
      sessions: [sessionOf('tor1', '10.0.0.0')],
      problems: [{ code: 'no-next-hop', object: 'x', text: 'y' }],
      error: undefined,
    },
    daemon: { apiVersion: 3, collectors: [] },
    bfd: [],
    links: new Map(),
    nowMs: 61_000,
    drain: { phase: 'waiting', message: '' },
  }),
  routes: [
    { status: 'announced', source: 'service', family: 'ipv4' },
    { status: 'announced', source: 'service', family: 'ipv6' },
    { status: 'refused', source: 'service', family: 'ipv4' },
  ],
  refused: { 'outside-allowed': 1 },
  waiting: 3,
}

t.test('every peer and family', async (t) => {
  const lines = exposition(
    bgpReadings(
      () => FACTS,
      () => 61_000,
    ),
    fail,
  ).split('\n')
  const tor1 = 'peer="tor1",address="10.0.0.0",asn="65001"'
  const tor2 = 'peer="tor2",address="10.0.0.2",asn="65001"'
  for (const line of [
    `weir_bgp_peer_state{${tor1},state="established"} 1`,
    `weir_bgp_peer_state{${tor1},state="idle"} 0`,
    `weir_bgp_peer_state{${tor2},state="missing"} 1`,
    `weir_bgp_peer_up{${tor1}} 1`,
    `weir_bgp_peer_up{${tor2}} 0`,
    `weir_bgp_peer_uptime_seconds{${tor1}} 60`,
    `weir_bgp_peer_uptime_seconds{${tor2}} 0`,
    `weir_bgp_peer_flaps_total{${tor1}} 2`,
    `weir_bgp_prefixes_received{${tor1},family="ipv4"} 3`,
    `weir_bgp_prefixes_accepted{${tor1},family="ipv4"} 2`,
    `weir_bgp_prefixes_advertised{${tor1},family="ipv4"} 5`,
    `weir_bgp_prefixes_wanted{${tor1},family="ipv4"} 6`,
    `weir_bgp_prefixes_installed{${tor1}} 1`,
    'weir_bgp_announcements{state="announced",kind="service"} 2',
    'weir_bgp_announcements{state="pending",kind="loopback"} 0',
    'weir_bgp_refused{why="outside-allowed"} 1',
    'weir_bgp_changes_waiting 3',
    'weir_bgp_problems{code="no-next-hop"} 1',
    'weir_bgp_gobgpd_up 1',
    'weir_bgp_collector_up{collector="192.0.2.1",port="11019"} 0',
    'weir_drain_state{phase="waiting"} 1',
    'weir_drain_state{phase="active"} 0',
  ])
    t.ok(lines.includes(line), line)
})

t.test('before the first look there is nothing to tell', async (t) => {
  t.equal(
    exposition(
      bgpReadings(() => undefined, Date.now),
      fail,
    ).trim(),
    '',
  )
})

t.test('one look for scrapes that come together; one that hangs holds nobody up', async (t) => {
  let looks = 0
  let now = 0
  const facts = new BgpFactsCache(
    async () => {
      looks += 1
      return FACTS
    },
    () => now,
  )
  await Promise.all([facts.refresh(), facts.refresh()])
  await facts.refresh()
  t.equal(looks, 1)
  t.equal(facts.facts, FACTS)
  now = 6_000
  await facts.refresh()
  t.equal(looks, 2)

  const hanging = new BgpFactsCache(() => new Promise(() => {}), Date.now)
  await hanging.refresh(20)
  t.equal(hanging.facts, undefined)
  const failing = new BgpFactsCache(() => Promise.reject(new Error('gobgpd')), Date.now)
  await failing.refresh()
  t.equal(failing.facts, undefined, 'and never rejects')
})
