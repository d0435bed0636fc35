// Objects that conformance tests put into the API server, short.

import type { Manifest } from './bed.ts'

export const HTTP_PORT = 8080
export const UDP_PORT = 8081

interface PodOptions {
  readonly namespace?: string
  readonly node?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly isHostNetwork?: boolean
  readonly httpPort?: number
  readonly graceSeconds?: number
  /** Of the container, as Kubernetes has them. */
  readonly ports?: readonly Readonly<Record<string, unknown>>[]
  readonly spec?: Readonly<Record<string, unknown>>
  readonly args?: readonly string[]
}

/** A pod that runs netexec; it answers with its name. */
export function pod(name: string, options: PodOptions = {}): Manifest {
  const {
    namespace,
    node,
    labels = { app: name },
    isHostNetwork = false,
    httpPort = HTTP_PORT,
    graceSeconds = 0,
  } = options
  const {
    ports = [
      { name: 'http', containerPort: httpPort },
      { name: 'udp', containerPort: UDP_PORT, protocol: 'UDP' },
    ],
    args = [],
  } = options
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), labels },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      hostNetwork: isHostNetwork,
      terminationGracePeriodSeconds: graceSeconds,
      containers: [
        {
          name: 'netexec',
          image: 'agnhost',
          args: [
            'netexec',
            `--http-port=${httpPort}`,
            `--udp-port=${UDP_PORT}`,
            `--hostname=${name}`,
            ...args,
          ],
          ports,
        },
      ],
      ...options.spec,
    },
  }
}

const DUAL_STACK = { ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv4', 'IPv6'] } as const

/** `spec` goes over: one TCP port 80 to 8080, both families, no selector. */
export function service(
  name: string,
  spec: Readonly<Record<string, unknown>> = {},
  metadata: Readonly<Record<string, unknown>> = {},
): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, ...metadata },
    spec: { ...DUAL_STACK, ports: [{ port: 80, targetPort: HTTP_PORT }], ...spec },
  }
}

export interface SliceEndpoint {
  readonly address: string
  readonly node?: string
  readonly conditions?: Readonly<Record<string, boolean>>
  readonly hints?: Readonly<Record<string, unknown>>
}

interface SliceOptions {
  readonly name?: string
  readonly ports?: readonly Readonly<Record<string, unknown>>[]
  readonly addressType?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

/** A slice made by hand, of the family of its first address. */
export function slice(
  serviceName: string,
  endpoints: readonly SliceEndpoint[],
  options: SliceOptions = {},
): Manifest {
  const isIpv6 = endpoints[0]?.address.includes(':') ?? false
  const {
    name = `${serviceName}-${isIpv6 ? 'v6' : 'v4'}`,
    ports = [{ name: '', port: HTTP_PORT, protocol: 'TCP' }],
  } = options
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name,
      labels: { 'kubernetes.io/service-name': serviceName, ...options.labels },
      ...(options.annotations ? { annotations: options.annotations } : {}),
    },
    addressType: options.addressType ?? (isIpv6 ? 'IPv6' : 'IPv4'),
    ports,
    endpoints: endpoints.map(({ address, node, conditions, hints }) => ({
      addresses: [address],
      ...(node === undefined ? {} : { nodeName: node }),
      ...(conditions ? { conditions } : {}),
      ...(hints ? { hints } : {}),
    })),
  }
}

/** Where slices' endpoints are: a pod's address of each family, and its node. */
export interface PodPlace {
  readonly addresses: readonly string[]
  readonly node?: string
}

/** Slices of both families with these pods in these conditions and with these hints. */
export function slicesOf(
  serviceName: string,
  places: ReadonlyMap<string, PodPlace>,
  states: Readonly<Record<string, Pick<SliceEndpoint, 'conditions' | 'hints'>>>,
  options: SliceOptions = {},
): Manifest[] {
  return [0, 1].map((family) => {
    const endpoints = Object.entries(states).map(([pod, state]) => {
      const { addresses = [], node } = places.get(pod) ?? {}
      return { address: addresses[family] ?? '', ...(node === undefined ? {} : { node }), ...state }
    })
    const named = options.name === undefined ? {} : { name: `${options.name}-${family}` }
    // A slice without endpoints cannot tell its family.
    const addressType = family === 0 ? 'IPv4' : 'IPv6'
    return slice(serviceName, endpoints, {
      name: `${serviceName}-${addressType.toLowerCase()}`,
      addressType,
      ...options,
      ...named,
    })
  })
}

export const TCP_AND_UDP = [
  { name: 'tcp', port: 80, targetPort: HTTP_PORT },
  { name: 'udp', protocol: 'UDP', port: 80, targetPort: UDP_PORT },
] as const
export const TCP_AND_UDP_OF_SLICE = [
  { name: 'tcp', port: HTTP_PORT },
  { name: 'udp', port: UDP_PORT, protocol: 'UDP' },
] as const

export const READY = { ready: true, serving: true, terminating: false } as const
export const LEAVING = { ready: false, serving: true, terminating: true } as const
export const BROKEN = { ready: false, serving: false, terminating: false } as const
