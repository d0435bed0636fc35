// What kube-proxy knows of a Service port: all that its rule sets are written from. IPv4, one port a Service, every endpoint ready.

export interface ProxiedEndpoint {
  readonly address: string
  readonly port: number
  /** A pod of the node that the rules are for. */
  readonly isLocal: boolean
}

export interface ProxiedService {
  readonly namespace: string
  readonly name: string
  /** Empty: the Service's only port has no name. */
  readonly portName: string
  readonly protocol: 'tcp' | 'udp'
  readonly clusterIp: string
  readonly port: number
  /** undefined: a Service of type ClusterIP. Node ports are not allocated (allocateLoadBalancerNodePorts: false). */
  readonly loadBalancerIp: string | undefined
  /** externalTrafficPolicy: Local. */
  readonly externalLocal: boolean
  /** Only with externalTrafficPolicy Local. */
  readonly healthCheckNodePort: number | undefined
  readonly endpoints: readonly ProxiedEndpoint[]
}

export interface ProxiedNode {
  /** Its primary address, which node ports are served at. */
  readonly address: string
  /** kube-proxy's --cluster-cidr: sources outside it are not pods. */
  readonly clusterCidr: string
  readonly serviceCidr: string
}

/** --iptables-masquerade-bit and --nftables-masquerade-bit are 14 by default. */
export const MASQUERADE_MARK = '0x4000'

/** `namespace/name:port`, as comments and hashes have it. */
export function servicePortName({ namespace, name, portName }: ProxiedService): string {
  return portName === '' ? `${namespace}/${name}` : `${namespace}/${name}:${portName}`
}

/**
 * The endpoints of a Service with externalTrafficPolicy Local that clients outside reach.
 * @throws when there is none: what kube-proxy writes then (DROP) is of no use to who measures, and not written here
 */
export function localEndpoints(service: ProxiedService): readonly ProxiedEndpoint[] {
  const local = service.endpoints.filter(({ isLocal }) => isLocal)
  if (local.length > 0) return local
  throw new Error(`${servicePortName(service)} has no endpoint on the node and externalTrafficPolicy Local`)
}
