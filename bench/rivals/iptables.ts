// The rules of kube-proxy's iptables mode, written from the same Services that Weir serves, as text for iptables-restore.
//
// After pkg/proxy/iptables of Kubernetes 1.33 (proxier.go: iptablesJumpChains, syncProxyRules; expectations of proxier_test.go) and the
// page "Virtual IPs and Service Proxies" of its documentation. A new flow's way:
//
//   nat PREROUTING → KUBE-SERVICES, a rule a Service address, in a row
//     cluster IP     → KUBE-SVC-…                  masquerade what is no pod's; an endpoint by `statistic random`
//     loadbalancer IP → KUBE-EXT-… → KUBE-SVC-…    externalTrafficPolicy Cluster: masqueraded
//                                  → KUBE-SVL-…    Local: endpoints of this node alone
//     → KUBE-SEP-…   DNAT to the endpoint
//   filter FORWARD → KUBE-PROXY-FIREWALL, KUBE-FORWARD, KUBE-SERVICES, KUBE-EXTERNAL-SERVICES
//   nat POSTROUTING → KUBE-POSTROUTING   masquerade what is marked
//
// A packet of a known flow passes conntrack, its translation, and the filter chains. kube-proxy writes Services in the order of a Go
// map, which is none; here they come in the given order, and who measures spreads the Services it uses over it.

import { chainHash } from './hash.ts'
import {
  localEndpoints,
  MASQUERADE_MARK,
  type ProxiedEndpoint,
  type ProxiedNode,
  type ProxiedService,
  servicePortName,
} from './service.ts'

/** In clusters of more endpoints kube-proxy leaves out the comments of endpoints' rules (largeClusterEndpointsThreshold). */
const LARGE_CLUSTER_ENDPOINTS = 1000
const HASH_LENGTH = 16

const FILTER_CHAINS = [
  'KUBE-SERVICES',
  'KUBE-EXTERNAL-SERVICES',
  'KUBE-FORWARD',
  'KUBE-NODEPORTS',
  'KUBE-PROXY-FIREWALL',
]
const NAT_CHAINS = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ']

type Kind = 'SVC' | 'SVL' | 'EXT'

export function serviceChain(kind: Kind, service: ProxiedService): string {
  return `KUBE-${kind}-${chainHash(servicePortName(service) + service.protocol, HASH_LENGTH)}`
}

export function endpointChain(service: ProxiedService, { address, port }: ProxiedEndpoint): string {
  const text = `${servicePortName(service)}${service.protocol}${address}:${port}`
  return `KUBE-SEP-${chainHash(text, HASH_LENGTH)}`
}

/**
 * The jumps from the kernel's chains, by table: made once, each put first in its chain, so the last one written is met first.
 */
function jumps(): { filter: string[]; nat: string[] } {
  const isNew = '-m conntrack --ctstate NEW '
  const jump = (chain: string, to: string, comment: string, condition = '') =>
    `-I ${chain} ${condition}-m comment --comment "${comment}" -j ${to}`
  const external = 'kubernetes externally-visible service portals'
  const firewall = 'kubernetes load balancer firewall'
  const portals = 'kubernetes service portals'
  return {
    filter: [
      jump('INPUT', 'KUBE-EXTERNAL-SERVICES', external, isNew),
      jump('FORWARD', 'KUBE-EXTERNAL-SERVICES', external, isNew),
      jump('INPUT', 'KUBE-NODEPORTS', 'kubernetes health check service ports'),
      jump('FORWARD', 'KUBE-SERVICES', portals, isNew),
      jump('OUTPUT', 'KUBE-SERVICES', portals, isNew),
      jump('FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules'),
      jump('INPUT', 'KUBE-PROXY-FIREWALL', firewall, isNew),
      jump('OUTPUT', 'KUBE-PROXY-FIREWALL', firewall, isNew),
      jump('FORWARD', 'KUBE-PROXY-FIREWALL', firewall, isNew),
      '-I INPUT -j KUBE-FIREWALL',
      '-I OUTPUT -j KUBE-FIREWALL',
    ],
    nat: [
      jump('OUTPUT', 'KUBE-SERVICES', portals),
      jump('PREROUTING', 'KUBE-SERVICES', portals),
      jump('POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules'),
    ],
  }
}

/**
 * Everything, jumps included, for an `iptables-restore` into empty tables. kube-proxy makes the jumps by commands of their own and gives the
 * rest to `iptables-restore --noflush`, for which iptables 1.8.9 (nf_tables) needs thirty times the CPU at 1 000 Services already. The
 * rules are the same; the rival gets the better of two ways.
 */
export function iptablesFull(services: readonly ProxiedService[], node: ProxiedNode): string {
  return tables(services, node, services, [], jumps())
}

/**
 * What a sync after a change gives to `iptables-restore --noflush`.
 * @param changed the Services whose own chains are written. The rules that lead to Services are written for all of them every time.
 * @param stale chains that nothing leads to any more
 */
export function iptablesChange(
  services: readonly ProxiedService[],
  node: ProxiedNode,
  changed: readonly ProxiedService[],
  stale: readonly string[] = [],
): string {
  return tables(services, node, changed, stale, { filter: [], nat: [] })
}

function tables(
  services: readonly ProxiedService[],
  node: ProxiedNode,
  changed: readonly ProxiedService[],
  stale: readonly string[],
  first: ReturnType<typeof jumps>,
): string {
  const endpoints = services.reduce((sum, service) => sum + service.endpoints.length, 0)
  const isLarge = endpoints > LARGE_CLUSTER_ENDPOINTS
  const written = changed.map((service) => chainsOf(service, node, isLarge))
  return [
    '*filter',
    ...[...FILTER_CHAINS, 'KUBE-FIREWALL'].map(chainLine),
    ...first.filter,
    ...filterRules(services),
    'COMMIT',
    '*nat',
    ...NAT_CHAINS.map(chainLine),
    ...written.flatMap(({ chains }) => chains.map(chainLine)),
    ...stale.map(chainLine),
    ...first.nat,
    ...postroutingRules(),
    ...services.flatMap(dispatchRules),
    ...written.flatMap(({ rules }) => rules),
    ...stale.map((chain) => `-X ${chain}`),
    // Behind all others.
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" ' +
      '-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    'COMMIT',
    '',
  ].join('\n')
}

/** Makes the chain, and empties one that is there. */
function chainLine(chain: string): string {
  return `:${chain} - [0:0]`
}

function filterRules(services: readonly ProxiedService[]): string[] {
  const isMarked = `-m mark --mark ${MASQUERADE_MARK}/${MASQUERADE_MARK}`
  return [
    '-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 ' +
      '-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
    ...services.flatMap((service) =>
      service.healthCheckNodePort === undefined
        ? []
        : [
            `-A KUBE-NODEPORTS -m comment --comment "${servicePortName(service)} health check node port" ` +
              `-m tcp -p tcp --dport ${service.healthCheckNodePort} -j ACCEPT`,
          ],
    ),
    '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
    `-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" ${isMarked} -j ACCEPT`,
    '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" ' +
      '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  ]
}

function postroutingRules(): string[] {
  return [
    `-A KUBE-POSTROUTING -m mark ! --mark ${MASQUERADE_MARK}/${MASQUERADE_MARK} -j RETURN`,
    // The mark goes, or a packet that meets the stack a second time would be masqueraded again.
    `-A KUBE-POSTROUTING -j MARK --xor-mark ${MASQUERADE_MARK}`,
    '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    `-A KUBE-MARK-MASQ -j MARK --or-mark ${MASQUERADE_MARK}`,
  ]
}

/** From KUBE-SERVICES to the Service's chains. */
function dispatchRules(service: ProxiedService): string[] {
  const { protocol, port, clusterIp, loadBalancerIp } = service
  const rule = (address: string, what: string, to: string) =>
    `-A KUBE-SERVICES -m comment --comment "${servicePortName(service)} ${what}" ` +
    `-m ${protocol} -p ${protocol} -d ${address} --dport ${port} -j ${to}`
  const rules = [rule(clusterIp, 'cluster IP', serviceChain('SVC', service))]
  if (loadBalancerIp !== undefined)
    rules.push(rule(loadBalancerIp, 'loadbalancer IP', serviceChain('EXT', service)))
  return rules
}

/** The chains of a Service, and of its endpoints. */
function chainsOf(
  service: ProxiedService,
  node: ProxiedNode,
  isLarge: boolean,
): { chains: string[]; rules: string[] } {
  const { protocol, port, clusterIp, endpoints } = service
  const name = servicePortName(service)
  const [cluster, local] = [serviceChain('SVC', service), serviceChain('SVL', service)]
  const chains: string[] = []
  const rules = [
    `-A ${cluster} -m comment --comment "${name} cluster IP" -m ${protocol} -p ${protocol} ` +
      `-d ${clusterIp} --dport ${port} ! -s ${node.clusterCidr} -j KUBE-MARK-MASQ`,
  ]
  if (service.loadBalancerIp !== undefined) {
    chains.push(serviceChain('EXT', service))
    rules.push(...externalRules(service, node))
  }
  chains.push(cluster)
  rules.push(...choiceRules(service, cluster, endpoints, isLarge))
  if (service.externalLocal) {
    chains.push(local)
    rules.push(...choiceRules(service, local, localEndpoints(service), isLarge))
  }
  for (const endpoint of endpoints) {
    const chain = endpointChain(service, endpoint)
    const comment = isLarge ? '' : ` -m comment --comment ${name}`
    chains.push(chain)
    // Who reaches itself through the Service must not answer itself.
    rules.push(`-A ${chain}${comment} -s ${endpoint.address} -j KUBE-MARK-MASQ`)
    rules.push(
      `-A ${chain}${comment} -m ${protocol} -p ${protocol} -j DNAT --to-destination ${endpoint.address}:${endpoint.port}`,
    )
  }
  return { chains, rules }
}

/** For the addresses that clients outside use. */
function externalRules(service: ProxiedService, { clusterCidr }: ProxiedNode): string[] {
  const name = servicePortName(service)
  const [external, cluster] = [serviceChain('EXT', service), serviceChain('SVC', service)]
  const comment = (text: string) =>
    `-A ${external} -m comment --comment "${text} for ${name} external destinations"`
  if (!service.externalLocal)
    return [`${comment('masquerade traffic')} -j KUBE-MARK-MASQ`, `-A ${external} -j ${cluster}`]
  return [
    `${comment('pod traffic')} -s ${clusterCidr} -j ${cluster}`,
    `${comment('masquerade LOCAL traffic')} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
    `${comment('route LOCAL traffic')} -m addrtype --src-type LOCAL -j ${cluster}`,
    `-A ${external} -j ${serviceChain('SVL', service)}`,
  ]
}

/** Each rule takes its share of what is left; the last one takes the rest. */
function choiceRules(
  service: ProxiedService,
  chain: string,
  endpoints: readonly ProxiedEndpoint[],
  isLarge: boolean,
): string[] {
  return endpoints.map((endpoint, index) => {
    const text = `${servicePortName(service)} -> ${endpoint.address}:${endpoint.port}`
    const comment = isLarge ? '' : ` -m comment --comment "${text}"`
    const left = endpoints.length - index
    const chance = left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : ''
    return `-A ${chain}${comment}${chance} -j ${endpointChain(service, endpoint)}`
  })
}
