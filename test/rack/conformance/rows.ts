// What a kube-proxy replacement has to do, row by row. Ids are stable; a test shows a row by beginning its name with the id
// (`SVC-013 …`, several with commas). `npm run conformance` joins rows and results.

export interface ConformanceRow {
  readonly id: string
  /** 0: a cluster breaks without it. 1: documented or tested upstream. 2: polish. */
  readonly priority: 0 | 1 | 2
  readonly section: string
  readonly behaviour: string
  /** Why no pass/fail test shows it, or what shows it instead. */
  readonly remark?: string
}

const SECTIONS: Readonly<Record<string, readonly (readonly [string, 0 | 1 | 2, string, string?])[]>> = {
  'Services: which objects, which endpoints': [
    ['SVC-001', 0, 'A ClusterIP leads TCP and UDP to its ready endpoints, and every one of them gets some'],
    ['SVC-002', 0, "The target port is the slice's number, whether the Service wrote a number or a name"],
    ['SVC-003', 0, 'TCP, UDP and SCTP on one port number are three ports that do not know each other'],
    [
      'SVC-004',
      0,
      'Headless and ExternalName Services are left alone, also when a live Service becomes one or stops being one',
    ],
    ['SVC-005', 0, 'The label service-proxy-name takes a Service away from us, live, and gives it back'],
    ['SVC-006', 0, 'The label headless on a slice takes it away from us, live'],
    ['SVC-007', 0, 'A Service without selector serves its hand-made slices'],
    ['SVC-008', 0, 'Several slices of one Service add up: other ports, other addresses'],
    ['SVC-009', 0, 'An endpoint that moves to another slice is served all the time'],
    ['SVC-010', 1, 'An endpoint in two slices counts once; the copy that names this node wins'],
    ['SVC-011', 0, 'Only ready endpoints serve; absent conditions mean ready'],
    ['SVC-012', 0, 'Without a ready endpoint in the cluster, terminating ones that still serve are used'],
    [
      'SVC-013',
      0,
      "Without a ready endpoint on the node, the Local set falls back to the node's terminating ones by itself",
    ],
    [
      'SVC-014',
      0,
      'Without a usable endpoint the client is refused at once: ClusterIP, NodePort, externalIP, VIP; from pod, node, outside',
    ],
    ['SVC-015', 0, 'internalTrafficPolicy Local without an endpoint here: nothing answers'],
    ['SVC-016', 0, 'externalTrafficPolicy Local without an endpoint here: packets from outside are dropped'],
    ['SVC-017', 0, 'externalTrafficPolicy Local from a pod or the node itself: all endpoints of the cluster'],
    ['SVC-018', 1, 'Each traffic policy touches its own kind of address only'],
    ['SVC-019', 1, 'A port or protocol that a live ClusterIP lacks is refused'],
    [
      'SVC-020',
      1,
      "An address of a ServiceCIDR that is no Service's gets nothing, also in a ServiceCIDR added later",
    ],
    ['SVC-021', 0, 'Nothing is programmed before Services and slices are known; a restart keeps traffic'],
    ['SVC-022', 0, 'A Service deleted and made again works, at the same or another ClusterIP'],
    [
      'SVC-023',
      0,
      'Ports come, go and change number live; what is gone is refused, the others do not notice',
    ],
    ['SVC-024', 1, 'Slices of names or of the other family are not read as addresses'],
    ['SVC-025', 1, 'publishNotReadyAddresses takes effect, through what its slices say'],
    ['SVC-026', 1, 'One named target port with different numbers on different pods serves all of them'],
    ['SVC-027', 1, 'More than 100 and more than 1000 endpoints of one Service'],
    ['SVC-028', 2, 'An invalid address or CIDR costs that item alone, and an Event says so'],
    ['SVC-029', 2, 'Leading zeros in addresses are read as decimal; white space around ranges is trimmed'],
    ['SVC-030', 2, 'A change of what is not read writes nothing'],
  ],
  'External addresses': [
    ['EXT-001', 0, 'A NodePort answers on every configured address of every node, for each protocol'],
    ['EXT-002', 1, "nodePortAddresses: only these addresses have NodePorts; `primary` means the node's own"],
    ['EXT-003', 0, 'No socket listens for a NodePort, and the port is free after deletion'],
    ['EXT-004', 0, 'Load-balancer addresses come from status, several at once, changed live'],
    ['EXT-005', 1, 'ipMode Proxy and hostname entries are not served by us'],
    ['EXT-006', 1, "externalIPs, on nobody's address and on the node's own; with a switch to turn them off"],
    [
      'EXT-007',
      0,
      'loadBalancerSourceRanges: who is not in them is dropped, at the load-balancer address alone, per family',
    ],
    ['EXT-008', 1, 'Source ranges hold for pods and nodes too'],
    ['EXT-009', 1, 'allocateLoadBalancerNodePorts false: no NodePort'],
    ['EXT-010', 1, 'A Service of another load-balancer class gets no address from us'],
    ['EXT-011', 0, "externalTrafficPolicy Local keeps the client's address"],
    [
      'EXT-012',
      0,
      'externalTrafficPolicy Cluster: replies reach the client through the entry node (SNAT) or directly (DSR)',
    ],
    ['EXT-013', 0, 'healthCheckNodePort: 200 or 503 by ready endpoints here, with body and headers'],
    [
      'EXT-014',
      1,
      'healthCheckNodePort opens and closes with policy and type; a port that is taken only warns',
    ],
    ['EXT-015', 1, 'healthCheckNodePort says 503 while the datapath lags behind'],
    ['EXT-016', 1, 'TCP and UDP on one VIP; two Services on one VIP with different ports'],
    ['EXT-017', 1, 'NodePort from a pod and from the node itself, to this and to another node'],
    ['EXT-018', 2, 'NodePort on loopback: served where configured, else refused fast'],
    [
      'EXT-019',
      0,
      'A VIP is announced only by nodes that can serve it, and withdrawn when they no longer can',
    ],
    ['EXT-020', 1, 'hostPort and NodePort side by side'],
  ],
  'Source addresses and translation': [
    ['NAT-001', 0, 'A pod reaches a ClusterIP with its own address'],
    ['NAT-002', 0, 'A pod reaches itself through its ClusterIP'],
    ['NAT-003', 1, 'A pod reaches itself through NodePort, VIP and externalIP'],
    ['NAT-004', 1, 'From outside through a ClusterIP: masqueraded'],
    [
      'NAT-005',
      1,
      'From a pod through a VIP: with its own address (upstream masquerades under policy Cluster; here replies always pass the translator)',
    ],
    ['NAT-006', 0, "Endpoints on the host's network, on this node and on another"],
    ['NAT-007', 0, 'The node itself reaches every kind of Service address'],
    ['NAT-010', 1, "Checksums are right after translation with offloads on, SCTP's too"],
    ['NAT-011', 1, 'SCTP Services, with port translation'],
    ['NAT-012', 1, 'Source ports under masquerade: random, and never one for two flows'],
  ],
  'Affinity, topology, connections': [
    ['AFF-001', 0, 'ClientIP affinity: ClusterIP, NodePort and VIP, TCP and UDP'],
    ['AFF-002', 1, 'Its timeout counts from the last new connection'],
    ['AFF-003', 1, 'Switched on and off live'],
    ['AFF-004', 0, 'An endpoint that is not usable any more loses its clients at once'],
    ['AFF-005', 1, 'Under a Local policy only local endpoints'],
    ['TOP-001', 1, 'Zone hints: used when all have one and one is this zone; else all'],
    ['TOP-002', 1, 'Node hints before zone hints'],
    ['TOP-003', 1, 'A missing hint or label means all; a changed label counts at once'],
    ['TOP-004', 1, 'The Local set knows no hints'],
    ['CT-001', 0, 'A UDP flow with a fixed source port moves when its endpoint goes'],
    ['CT-002', 0, 'A UDP flow that found nothing finds the first ready endpoint'],
    ['CT-003', 1, 'A UDP flow stays on an endpoint that is terminating and serves'],
    ['CT-004', 0, 'TCP flows survive changes of endpoints and Service, restart and upgrade of the agent'],
    ['CT-005', 1, 'Invalid TCP packets never come out untranslated'],
    ['CT-006', 1, 'Half-closed connections live about an hour, established ones a day'],
    ['CT-007', 0, 'Connected UDP sockets are not pinned to dead endpoints'],
    ['CT-008', 1, 'A full connection table: old flows live, and metric, log and status say so'],
    ['CT-009', 1, "getpeername and recvfrom show the Service's address"],
  ],
  'Health, metrics, life cycle': [
    ['OPS-001', 0, '/healthz and /livez on port 10256'],
    ['OPS-002', 1, 'A node about to be deleted fails /healthz alone'],
    ['OPS-003', 0, 'API server away: state is kept, /livez stays healthy'],
    ['OPS-004', 1, 'kubeproxy_* metrics, by their names, buckets and labels'],
    ['OPS-005', 1, "network_programming_duration from the slices' trigger time"],
    ['OPS-006', 1, 'The gauge of Services without local endpoints'],
    ['OPS-007', 0, 'A crash at any moment leaves no half Service; stale state goes at the next start'],
    ['OPS-008', 1, 'Programs that somebody removed come back'],
    ['OPS-009', 1, "Uninstall leaves nothing; other proxies' rules are not touched"],
    ['OPS-010', 1, 'Work is in proportion to the change'],
    [
      'OPS-011',
      0,
      '10 000 Services, 150 000 endpoints and 5 000 nodes: start-up and steady limits',
      'measured by `npm run bench -- control`; bench/RESULTS.md sets the figures beside their budgets, not all of which are met',
    ],
    [
      'OPS-012',
      1,
      'Network programming at that size',
      'measured by `npm run bench -- control`; bench/RESULTS.md sets the figures beside their budgets, not all of which are met',
    ],
    ['OPS-013', 1, 'A full map is visible, and costs only who asked last'],
    ['OPS-014', 0, 'Families fail and recover apart; nodes with one family alone'],
  ],
  'List and watch': [
    ['API-001', 0, '410 at start and in the stream: listed anew and compared, nothing flushed'],
    ['API-002', 0, 'Missed deletions are found; a new object of an old name is noticed'],
    ['API-003', 0, 'Resets, 429 and 5xx: tried again with growing, jittered waits, for ever'],
    ['API-004', 1, 'Bookmarks keep a quiet watch from ever listing again'],
    ['API-005', 1, 'A server that died silently is noticed within a minute'],
    ['API-006', 1, 'Tokens and CAs are rotated'],
    ['API-007', 1, 'Lists come in pages; an expired continue token is dealt with'],
    ['API-008', 1, 'WatchList where the server has it'],
    ['API-009', 1, 'A full list does not hold up the event loop'],
    ['API-010', 1, 'Nodes do not all start at once; a FlowSchema is shipped'],
    ['API-011', 1, 'The resource version never goes back'],
    ['API-012', 2, 'Unknown fields and values are tolerated'],
  ],
}

export const CONFORMANCE_ROWS: readonly ConformanceRow[] = Object.entries(SECTIONS).flatMap(
  ([section, rows]) =>
    rows.map(([id, priority, behaviour, remark]) => ({
      id,
      priority,
      section,
      behaviour,
      ...(remark === undefined ? {} : { remark }),
    })),
)
