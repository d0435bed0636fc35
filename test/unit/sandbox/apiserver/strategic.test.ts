// Strategic merge patches, as kubectl apply and kubectl edit send them.

import t from 'tap'
import type { Schema } from '../../../../src/sandbox/apiserver/kind.ts'
import { sharedDefinitions } from '../../../../src/sandbox/apiserver/schema/definitions.ts'
import { strategicMergePatch } from '../../../../src/sandbox/apiserver/schema/strategic.ts'

interface Case {
  name: string
  kind: string
  current: unknown
  patch: unknown
  result: unknown
}

const pod = 'core.v1.Pod'
const service = 'core.v1.Service'
const inContainer = (fields: object): object => ({ spec: { containers: [{ name: 'a', ...fields }] } })

const cases: Case[] = [
  {
    name: 'containers merge by name, new ones are added',
    kind: pod,
    current: {
      spec: {
        containers: [
          { name: 'a', image: 'x' },
          { name: 'b', image: 'y' },
        ],
      },
    },
    patch: {
      spec: {
        containers: [
          { name: 'b', image: 'z' },
          { name: 'c', image: 'w' },
        ],
      },
    },
    result: {
      spec: {
        containers: [
          { name: 'a', image: 'x' },
          { name: 'b', image: 'z' },
          { name: 'c', image: 'w' },
        ],
      },
    },
  },
  {
    name: 'an item is deleted by directive',
    kind: pod,
    current: { spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
    patch: { spec: { containers: [{ name: 'a', $patch: 'delete' }] } },
    result: { spec: { containers: [{ name: 'b' }] } },
  },
  {
    name: 'a list is replaced by directive',
    kind: pod,
    current: { spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
    patch: { spec: { containers: [{ $patch: 'replace' }, { name: 'c', image: null }] } },
    result: { spec: { containers: [{ name: 'c' }] } },
  },
  {
    name: 'environment variables merge by name and keep the order asked for',
    kind: pod,
    current: inContainer({
      env: [
        { name: 'X', value: '1' },
        { name: 'Y', value: '2' },
      ],
    }),
    patch: {
      spec: {
        '$setElementOrder/containers': [{ name: 'a' }],
        containers: [
          {
            name: 'a',
            '$setElementOrder/env': [{ name: 'Z' }, { name: 'Y' }, { name: 'X' }],
            env: [{ name: 'Z', value: '3' }],
          },
        ],
      },
    },
    result: inContainer({
      env: [
        { name: 'Z', value: '3' },
        { name: 'Y', value: '2' },
        { name: 'X', value: '1' },
      ],
    }),
  },
  {
    name: 'items only the server has keep their place',
    kind: pod,
    current: { spec: { containers: [{ name: 'a' }, { name: 'injected' }, { name: 'b' }] } },
    patch: {
      spec: {
        '$setElementOrder/containers': [{ name: 'a' }, { name: 'b' }],
        containers: [{ name: 'b', image: 'x' }],
      },
    },
    result: { spec: { containers: [{ name: 'a' }, { name: 'injected' }, { name: 'b', image: 'x' }] } },
  },
  {
    name: 'a volume of another type keeps only the new source',
    kind: pod,
    current: { spec: { volumes: [{ name: 'v', emptyDir: {} }] } },
    patch: {
      spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }] },
    },
    result: { spec: { volumes: [{ name: 'v', hostPath: { path: '/x' } }] } },
  },
  {
    name: 'mounts merge by path',
    kind: pod,
    current: inContainer({ volumeMounts: [{ name: 'v', mountPath: '/a' }] }),
    patch: inContainer({ volumeMounts: [{ name: 'v', mountPath: '/b' }] }),
    result: inContainer({
      volumeMounts: [
        { name: 'v', mountPath: '/a' },
        { name: 'v', mountPath: '/b' },
      ],
    }),
  },
  {
    name: 'conditions merge by type',
    kind: pod,
    current: {
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'Initialized', status: 'True' },
        ],
      },
    },
    patch: { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    result: {
      status: {
        conditions: [
          { type: 'Ready', status: 'True' },
          { type: 'Initialized', status: 'True' },
        ],
      },
    },
  },
  {
    name: 'lists without a key are replaced',
    kind: pod,
    current: { spec: { tolerations: [{ key: 'a' }, { key: 'b' }] } },
    patch: { spec: { tolerations: [{ key: 'c' }] } },
    result: { spec: { tolerations: [{ key: 'c' }] } },
  },
  {
    name: 'null removes, also in maps',
    kind: service,
    current: {
      metadata: { labels: { a: '1', b: '2' } },
      spec: { selector: { x: 'y' }, externalIPs: ['1.2.3.4'] },
    },
    patch: { metadata: { labels: { a: null, c: '3' } }, spec: { externalIPs: null } },
    result: { metadata: { labels: { b: '2', c: '3' } }, spec: { selector: { x: 'y' } } },
  },
  {
    name: 'finalizers are a set',
    kind: service,
    current: { metadata: { finalizers: ['a/x', 'b/y'] } },
    patch: {
      metadata: {
        '$deleteFromPrimitiveList/finalizers': ['a/x'],
        '$setElementOrder/finalizers': ['c/z', 'b/y'],
        finalizers: ['c/z'],
      },
    },
    result: { metadata: { finalizers: ['c/z', 'b/y'] } },
  },
  {
    name: 'owners merge by uid',
    kind: service,
    current: { metadata: { ownerReferences: [{ uid: '1', name: 'a' }] } },
    patch: {
      metadata: {
        ownerReferences: [
          { uid: '1', controller: true },
          { uid: '2', name: 'b' },
        ],
      },
    },
    result: {
      metadata: {
        ownerReferences: [
          { uid: '1', name: 'a', controller: true },
          { uid: '2', name: 'b' },
        ],
      },
    },
  },
  {
    name: 'a port changes its protocol when it is the only one of that number',
    kind: service,
    current: { spec: { ports: [{ port: 53, protocol: 'TCP', nodePort: 30053 }] } },
    patch: { spec: { '$setElementOrder/ports': [{ port: 53 }], ports: [{ port: 53, protocol: 'UDP' }] } },
    result: { spec: { ports: [{ port: 53, protocol: 'UDP', nodePort: 30053 }] } },
  },
  {
    name: 'a second protocol of one port is added',
    kind: service,
    current: { spec: { ports: [{ name: 'u', port: 53, protocol: 'UDP' }] } },
    patch: {
      spec: {
        '$setElementOrder/ports': [{ port: 53 }, { port: 53 }],
        ports: [{ name: 't', port: 53, protocol: 'TCP' }],
      },
    },
    result: {
      spec: {
        ports: [
          { name: 'u', port: 53, protocol: 'UDP' },
          { name: 't', port: 53, protocol: 'TCP' },
        ],
      },
    },
  },
  {
    name: 'with both protocols there, the named one changes',
    kind: service,
    current: {
      spec: {
        ports: [
          { port: 53, protocol: 'UDP' },
          { port: 53, protocol: 'TCP' },
        ],
      },
    },
    patch: { spec: { ports: [{ port: 53, protocol: 'TCP', targetPort: 5353 }] } },
    result: {
      spec: {
        ports: [
          { port: 53, protocol: 'UDP' },
          { port: 53, protocol: 'TCP', targetPort: 5353 },
        ],
      },
    },
  },
  {
    name: 'a rollout strategy of another type drops the old parameters',
    kind: 'apps.v1.Deployment',
    current: { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } },
    patch: { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
    result: { spec: { strategy: { type: 'Recreate' } } },
  },
  {
    name: 'a map is replaced by directive',
    kind: service,
    current: { spec: { selector: { a: '1' } } },
    patch: { spec: { selector: { b: '2', $patch: 'replace' } } },
    result: { spec: { selector: { b: '2' } } },
  },
]

t.test('patches merge as the API says', async (t) => {
  for (const { name, kind, current, patch, result } of cases) {
    const schema: Schema = { $ref: `io.k8s.api.${kind}` }
    const before = structuredClone({ current, patch })
    t.same(strategicMergePatch(schema, sharedDefinitions, current, patch), result, name)
    t.same({ current, patch }, before, `${name}: neither input is touched`)
  }
})

t.test('patches that mean nothing are refused', async (t) => {
  const schema: Schema = { $ref: 'io.k8s.api.core.v1.Pod' }
  const apply = (patch: unknown) => (): unknown => strategicMergePatch(schema, sharedDefinitions, {}, patch)
  t.throws(apply({ spec: { containers: [{ image: 'x' }] } }), /does not contain declared merge key: name/)
  t.throws(apply({ $patch: 'destroy' }), /unknown directive/)
  t.throws(apply({ spec: { containers: ['x'] } }), /cannot hold plain values/)
  t.throws(apply([]), /must be an object/)
})
