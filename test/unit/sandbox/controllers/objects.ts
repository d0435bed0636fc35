// Small makers of the objects the controllers' tests are about.

import type { Node, Pod, Service } from '../../../../src/kube/objects.ts'
import type { ReplicaSet } from '../../../../src/kube/workloads.ts'

export const NOW = Date.parse('2026-01-01T00:00:00Z')

interface PodOptions {
  ready?: boolean
  readySinceMs?: number
  node?: string | undefined
  ips?: string[]
  labels?: Record<string, string>
  terminating?: boolean
  phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed'
  owner?: string
  createdMs?: number
  ports?: { name?: string; containerPort: number; protocol?: 'TCP' | 'UDP' }[]
  spec?: Partial<Pod['spec']>
}

export function pod(name: string, options: PodOptions = {}): Pod {
  const { ready = true, labels = { app: 'web' }, phase = 'Running', owner = 'set-1' } = options
  const time = (ms: number) => new Date(ms).toISOString()
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}`,
      labels,
      creationTimestamp: time(options.createdMs ?? NOW),
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 's', uid: owner, controller: true },
      ],
      ...(options.terminating ? { deletionTimestamp: time(NOW) } : {}),
    },
    spec: {
      containers: [{ name: 'c', ports: options.ports ?? [{ name: 'http', containerPort: 8080 }] }],
      ...('node' in options
        ? options.node === undefined
          ? {}
          : { nodeName: options.node }
        : { nodeName: 'node1' }),
      ...options.spec,
    },
    status: {
      phase,
      podIPs: (options.ips ?? ['10.244.1.2', 'fd00:244:1::2']).map((ip) => ({ ip })),
      conditions: [
        {
          type: 'Ready',
          status: ready ? 'True' : 'False',
          lastTransitionTime: time(options.readySinceMs ?? NOW),
        },
      ],
    },
  }
}

export function node(name: string, more: Partial<Node> = {}, ready = true): Node {
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': 'zone-a' } },
    status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
    ...more,
  }
}

export function service(more: Partial<Service['spec']> = {}): Service {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'svc-1' },
    spec: {
      selector: { app: 'web' },
      ipFamilies: ['IPv4'],
      clusterIP: '10.96.0.10',
      ports: [{ name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' }],
      ...more,
    },
  }
}

export function replicaSet(replicas: number, more: Partial<ReplicaSet> = {}): ReplicaSet {
  return {
    metadata: { name: 'set', namespace: 'default', uid: 'set-1', generation: 3 },
    spec: { replicas, selector: { matchLabels: { app: 'web' } } },
    ...more,
  }
}
