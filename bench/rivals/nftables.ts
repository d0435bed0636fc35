// The rules of kube-proxy's nftables mode, written from the same Services that Weir serves, as one transaction for `nft -f`.
//
// After pkg/proxy/nftables of Kubernetes 1.33 (README.md; proxier.go: setupNFTables, syncProxyRules; the expectations of
// proxier_test.go, baseRules) and the page "Virtual IPs and Service Proxies" of its documentation. A new flow's way:
//
//   nat-prerouting → services → one look-up of (address, protocol, port) in the verdict map service-ips
//     → service-…    masquerade what is no pod's; an endpoint by `numgen random` and a verdict map
//     → external-… → service-… (masqueraded), or local-… where the policy is Local
//     → endpoint-…   DNAT to the endpoint
//   filter-prerouting-pre-dnat, filter-forward: look-ups for new flows alone
//   nat-postrouting → masquerading

import { chainHash } from './hash.ts'
import {
  localEndpoints,
  MASQUERADE_MARK,
  type ProxiedEndpoint,
  type ProxiedNode,
  type ProxiedService,
} from './service.ts'

const TABLE = 'ip kube-proxy'
const HASH_LENGTH = 8
const ADDRESS_PORT = 'ipv4_addr . inet_proto . inet_service : verdict'
const PORT = 'inet_proto . inet_service : verdict'
const LOOK_UP = 'ip daddr . meta l4proto . th dport vmap'

/** DNAT has priority -100, source NAT 100. What is filtered by Service address is filtered before DNAT. */
const BASE_CHAINS = [
  ['filter-prerouting-pre-dnat', 'filter', 'prerouting', -110],
  ['filter-output-pre-dnat', 'filter', 'output', -110],
  ['filter-input', 'filter', 'input', 0],
  ['filter-forward', 'filter', 'forward', 0],
  ['filter-output', 'filter', 'output', 0],
  ['nat-prerouting', 'nat', 'prerouting', -100],
  ['nat-output', 'nat', 'output', -100],
  ['nat-postrouting', 'nat', 'postrouting', 100],
] as const

const JUMPS = [
  ['filter-input', 'ct state new', 'nodeport-endpoints-check'],
  ['filter-input', 'ct state new', 'service-endpoints-check'],
  ['filter-forward', 'ct state new', 'service-endpoints-check'],
  ['filter-output', 'ct state new', 'service-endpoints-check'],
  ['filter-prerouting-pre-dnat', 'ct state new', 'firewall-check'],
  ['filter-output-pre-dnat', 'ct state new', 'firewall-check'],
  ['nat-output', '', 'services'],
  ['nat-prerouting', '', 'services'],
  ['nat-postrouting', '', 'masquerading'],
  ['filter-forward', 'ct state new', 'cluster-ips-check'],
  ['filter-output', 'ct state new', 'cluster-ips-check'],
] as const

const MAPS = [
  ['no-endpoint-services', ADDRESS_PORT, 'vmap to drop or reject packets to services with no endpoints'],
  ['no-endpoint-nodeports', PORT, 'vmap to drop or reject packets to service nodeports with no endpoints'],
  ['firewall-ips', ADDRESS_PORT, 'destinations that are subject to LoadBalancerSourceRanges'],
  ['service-ips', ADDRESS_PORT, 'ClusterIP, ExternalIP and LoadBalancer IP traffic'],
  ['service-nodeports', PORT, 'NodePort traffic'],
] as const

type Kind = 'service' | 'local' | 'external'

/** `service-ULMVA6XW-ns1/svc1/tcp/p80`: the hash is that of what follows it. */
export function serviceChain(kind: Kind, service: ProxiedService): string {
  return `${kind}-${hashed(pathOf(service))}`
}

export function endpointChain(service: ProxiedService, { address, port }: ProxiedEndpoint): string {
  return `endpoint-${hashed(`${pathOf(service)}__${address}/${port}`)}`
}

const hashed = (text: string): string => `${chainHash(text, HASH_LENGTH)}-${text}`

function pathOf({ namespace, name, protocol, portName }: ProxiedService): string {
  return `${namespace}/${name}/${protocol}/${portName}`
}

/** A full sync: everything, in one transaction. */
export function nftablesFull(services: readonly ProxiedService[], node: ProxiedNode): string {
  return [
    ...setup(node),
    // Elements and rules may only lead to chains that are there.
    ...services.flatMap((service) => [
      ...chainsOf(service).flatMap(emptyChain),
      ...elementsOf(service),
      ...rulesOf(service, node),
    ]),
    '',
  ].join('\n')
}

/**
 * A sync after endpoints of these Services changed: their chains are written anew, and what nothing leads to any more is emptied (a later
 * sync deletes it). Elements of maps are written only where they differ, and they do not.
 */
export function nftablesChange(
  changed: readonly ProxiedService[],
  node: ProxiedNode,
  stale: readonly string[] = [],
): string {
  return [
    ...changed.flatMap((service) => [...chainsOf(service).flatMap(emptyChain), ...rulesOf(service, node)]),
    ...stale.map((chain) => `flush chain ${TABLE} ${chain}`),
    '',
  ].join('\n')
}

function rule(chain: string, text: string, comment?: string): string {
  return `add rule ${TABLE} ${chain} ${text}${comment === undefined ? '' : ` comment "${comment}"`}`
}

/** Emptied when it is there. */
function emptyChain(chain: string): string[] {
  return [`add chain ${TABLE} ${chain}`, `flush chain ${TABLE} ${chain}`]
}

function setup({ address, serviceCidr }: ProxiedNode): string[] {
  const jumped = [...new Set(JUMPS.map(([, , to]) => to))]
  return [
    `add table ${TABLE} { comment "rules for kube-proxy" ; }`,
    ...BASE_CHAINS.flatMap(([name, type, hook, priority]) => [
      `add chain ${TABLE} ${name} { type ${type} hook ${hook} priority ${priority} ; }`,
      `flush chain ${TABLE} ${name}`,
    ]),
    ...[...jumped, 'mark-for-masquerade'].flatMap(emptyChain),
    ...JUMPS.map(([from, condition, to]) => rule(from, `${condition} jump ${to}`.trim())),
    rule('mark-for-masquerade', `mark set mark or ${MASQUERADE_MARK}`),
    rule('masquerading', `mark and ${MASQUERADE_MARK} == 0 return`),
    rule('masquerading', `mark set mark xor ${MASQUERADE_MARK}`),
    rule('masquerading', 'masquerade fully-random'),
    `add set ${TABLE} cluster-ips { type ipv4_addr ; comment "Active ClusterIPs" ; }`,
    rule(
      'cluster-ips-check',
      'ip daddr @cluster-ips reject',
      'Reject traffic to invalid ports of ClusterIPs',
    ),
    rule('cluster-ips-check', `ip daddr { ${serviceCidr} } drop`, 'Drop traffic to unallocated ClusterIPs'),
    `add set ${TABLE} nodeport-ips { type ipv4_addr ; comment "IPs that accept NodePort traffic" ; }`,
    `add element ${TABLE} nodeport-ips { ${address} }`,
    ...MAPS.map(
      ([name, type, comment]) => `add map ${TABLE} ${name} { type ${type} ; comment "${comment}" ; }`,
    ),
    `add chain ${TABLE} reject-chain { comment "helper for @no-endpoint-services / @no-endpoint-nodeports" ; }`,
    `flush chain ${TABLE} reject-chain`,
    rule('reject-chain', 'reject'),
    rule('service-endpoints-check', `${LOOK_UP} @no-endpoint-services`),
    rule(
      'nodeport-endpoints-check',
      'ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports',
    ),
    rule('firewall-check', `${LOOK_UP} @firewall-ips`),
    rule('services', `${LOOK_UP} @service-ips`),
    rule('services', 'ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports'),
    `flush set ${TABLE} cluster-ips`,
    ...MAPS.map(([name]) => `flush map ${TABLE} ${name}`),
  ]
}

/** What leads to the Service's chains. */
function elementsOf(service: ProxiedService): string[] {
  const { clusterIp, loadBalancerIp, protocol, port } = service
  const entry = (address: string, kind: Kind) =>
    `add element ${TABLE} service-ips { ${address} . ${protocol} . ${port} : goto ${serviceChain(kind, service)} }`
  const elements = [`add element ${TABLE} cluster-ips { ${clusterIp} }`, entry(clusterIp, 'service')]
  return loadBalancerIp === undefined ? elements : [...elements, entry(loadBalancerIp, 'external')]
}

function chainsOf(service: ProxiedService): string[] {
  return [
    ...service.endpoints.map((endpoint) => endpointChain(service, endpoint)),
    serviceChain('service', service),
    ...(service.externalLocal ? [serviceChain('local', service)] : []),
    ...(service.loadBalancerIp === undefined ? [] : [serviceChain('external', service)]),
  ]
}

function rulesOf(service: ProxiedService, node: ProxiedNode): string[] {
  const { clusterIp, protocol, endpoints, loadBalancerIp, externalLocal } = service
  const [cluster, local] = [serviceChain('service', service), serviceChain('local', service)]
  return [
    rule(cluster, `ip daddr ${clusterIp} ip saddr != ${node.clusterCidr} jump mark-for-masquerade`),
    ...(loadBalancerIp === undefined ? [] : externalRules(service, node)),
    choiceRule(service, cluster, endpoints),
    ...(externalLocal ? [choiceRule(service, local, localEndpoints(service))] : []),
    ...endpoints.flatMap((endpoint) => {
      const chain = endpointChain(service, endpoint)
      return [
        rule(chain, `ip saddr ${endpoint.address} jump mark-for-masquerade`),
        rule(chain, `meta l4proto ${protocol} dnat to ${endpoint.address}:${endpoint.port}`),
      ]
    }),
  ]
}

function externalRules(service: ProxiedService, { clusterCidr }: ProxiedNode): string[] {
  const [external, cluster] = [serviceChain('external', service), serviceChain('service', service)]
  if (!service.externalLocal)
    return [rule(external, 'jump mark-for-masquerade'), rule(external, `goto ${cluster}`)]
  return [
    rule(external, `ip saddr ${clusterCidr} goto ${cluster}`, 'short-circuit pod traffic'),
    rule(external, 'fib saddr type local jump mark-for-masquerade', 'masquerade local traffic'),
    rule(external, `fib saddr type local goto ${cluster}`, 'short-circuit local traffic'),
    rule(external, `goto ${serviceChain('local', service)}`),
  ]
}

function choiceRule(service: ProxiedService, chain: string, endpoints: readonly ProxiedEndpoint[]): string {
  const ways = endpoints.map((endpoint, index) => `${index} : goto ${endpointChain(service, endpoint)}`)
  return rule(chain, `numgen random mod ${endpoints.length} vmap { ${ways.join(' , ')} }`)
}
