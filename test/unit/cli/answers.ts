// Answers of the agent as the tests of commands know them.

import type { PeersView, PeerView } from '../../../src/agent/bgp-peers-view.ts'
import type { RouteRow, RoutesView } from '../../../src/agent/bgp-routes-view.ts'
import type { AgentStatus } from '../../../src/agent/status-view.ts'
import { address } from '../../../src/model/address.ts'
import { attributes } from '../speaker/bed.ts'

export const NOW = 1_000_000_000

export const peer = (name: string, change: Partial<PeerView> = {}): PeerView => ({
  name,
  source: `routing.peers[0]`,
  address: '10.0.0.0',
  asn: 65001,
  localAsn: 65101,
  state: 'established',
  isAdminDown: false,
  sinceMs: NOW - 300_000,
  flaps: 1,
  families: [{ family: 'ipv4', received: 1, accepted: 0, advertised: 4, wanted: 4 }],
  taken: 0,
  bfd: { state: 'up', detail: undefined },
  cause: undefined,
  lastError: undefined,
  routerId: '10.0.0.9',
  negotiatedHoldSeconds: 9,
  capabilities: { local: [], remote: ['multi-protocol ipv4', 'graceful-restart'] },
  messages: undefined,
  settings: {
    port: 179,
    families: ['ipv4'],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    hasPassword: true,
    ttlSecurityMin: 255,
    gracefulRestart: { restartSeconds: 60 },
    bfd: undefined,
  },
  ...change,
})

export const PEERS: PeersView = {
  node: 'node1',
  asn: 65101,
  routerId: '10.255.0.1',
  gobgpd: { isConnected: true, apiVersion: 3, error: undefined },
  drain: undefined,
  peers: [
    peer('tor1', {
      families: [
        { family: 'ipv4', received: 1, accepted: 0, advertised: 4, wanted: 4 },
        { family: 'ipv6', received: 0, accepted: 0, advertised: 2, wanted: 3 },
      ],
    }),
    peer('tor2', {
      address: '10.0.0.2',
      state: 'active',
      sinceMs: undefined,
      bfd: { state: 'down', detail: 'nothing was heard for the detection time' },
      lastError: 'the router has another password: the kernel dropped 8 segments with a wrong signature',
    }),
  ],
  collectors: [{ address: '192.0.2.1', port: 11019, upSinceMs: undefined }],
  problems: [],
}

export const route = (change: Partial<RouteRow> = {}): RouteRow => ({
  prefix: '203.0.113.7/32',
  family: 'ipv4',
  source: 'service',
  status: 'announced',
  sinceMs: NOW - 60_000,
  exports: [
    { peers: ['tor1'], attributes: attributes({ med: 5 }) },
    { peers: ['tor2', 'tor3'], attributes: attributes() },
  ],
  why: 'Service shop/web has 2 usable endpoints',
  problem: undefined,
  ...change,
})

export const ROUTES: RoutesView = {
  routes: [
    route(),
    route({ status: 'refused', problem: 'outside every pool', mend: 'add its network to a pool' }),
  ],
  draining: 'Drain waiting',
}

const pod = (index: number) => ({
  hook: 'tcx_ingress',
  ifindex: index,
  device: `pod${index}`,
  program: 'weir_pod_tc',
  programId: 41,
  linkId: 100 + index,
})

export const STATUS: AgentStatus = {
  node: 'node1',
  synced: true,
  isMember: true,
  allocatesAddresses: false,
  sources: { services: { phase: 'watching', rows: 3, lastError: undefined } } as never,
  policy: undefined,
  policyProblems: [],
  closedPods: undefined,
  lackingRules: [
    {
      rule: '{ apiGroups: [""], resources: [services/status], verbs: [patch] }',
      where: 'ClusterRole',
      message: 'services "web" is forbidden: …',
      sinceMs: 0,
    },
  ],
  uplinks: [
    {
      name: 'eth0',
      ifindex: 2,
      isUp: true,
      mtu: 9000,
      hook: 'tc',
      reason: 'the driver has no XDP',
      problem: undefined,
      gateways: [address('10.0.0.1'), undefined],
    },
  ],
  defaultRoutes: [
    {
      family: 'ipv4',
      mode: 'manage',
      hops: ['10.0.0.1 dev eth0'],
      absent: [{ way: '10.0.1.1 dev eth1', why: 'BFD: the router is silent' }],
    },
    { family: 'ipv6', mode: 'observe', hops: [], absent: [] },
  ],
  programs: [
    { ...pod(2), device: 'eth0', program: 'weir_uplink_ingress', programId: 40 },
    ...[5, 6, 7, 8, 9].map(pod),
    {
      hook: 'connect4',
      ifindex: undefined,
      device: undefined,
      program: 'weir_connect4',
      programId: 50,
      linkId: 7,
    },
  ],
  drain: {
    node: 'node1',
    phase: 'waiting',
    sinceMs: 0,
    message: '120 packets a second of clients still come here',
    wantedBy: 'node',
    packetsPerSecond: 120,
    nodePortPacketsPerSecond: 0,
    vips: 3,
  },
  pods: ['10.0.1.1', 'fd00::1'].map((text) => ({
    ...{ address: address(text), ifindex: 7, takesRedirects: true, mayBypass: true },
  })),
  tables: {} as never,
  fills: [
    { map: 'flows', used: 90, capacity: 100, knob: 'flows', isNearlyFull: true, memoryBytes: 3 * 2 ** 20 },
    { map: 'nodes', used: 1, capacity: 16_384, knob: undefined, isNearlyFull: false, memoryBytes: 2 ** 19 },
  ],
  memory: { mapsBytes: 110 * 2 ** 20, agentAnonymousBytes: 60 * 2 ** 20 },
  flows: {
    capacity: 100,
    live: 90,
    byState: { HALF_OPEN: 10, ESTABLISHED: 40 },
    byKind: { TO_LOCAL: 40, TO_REMOTE: 10, REPLY: 40 },
    swept: 5,
    refused: 7,
  },
  features: [
    { name: 'tcx', isPresent: false, since: '6.6', instead: 'classifiers of clsact' },
    { name: 'socket iterators', isPresent: true, since: '5.9', instead: 'nothing' },
  ],
  endedSockets: undefined,
  restored: { detached: 0, replaced: 0, unpinned: 0, overwritten: 0 },
  sysctls: [],
  neighbours: [],
  masquerade: undefined,
  configuration: {
    file: {
      file: '/etc/weir/agent.yaml',
      takenAtMs: 0,
      refused: {
        atMs: 0,
        message: "agent.yaml is refused:\n  routing: unknown key 'pers'\n  pools[0].name: missing",
      },
      waitForRestart: ['logLevel'],
    },
    candidate: { appliedAtMs: 0, deadlineMs: 60_000 },
    waitForRestart: [{ by: 'candidate', keys: ['routing.loopbacks (where tunnels end)'] }],
    sources: [{ source: 'cilium', state: 'unused', detail: 'CiliumBGPClusterConfig fabric (not followed)' }],
    problems: [{ source: 'routing.peers[1]', why: "routing.peers[0] is named 'tor' too" }],
  },
  routing: {} as never,
  sessions: [
    { peer: 'tor1', address: '10.0.0.0', state: 'established', why: undefined },
    { peer: 'tor2', address: '10.0.0.2', state: 'active', why: 'no carrier on to-tor2. Mend: look' },
  ],
}
