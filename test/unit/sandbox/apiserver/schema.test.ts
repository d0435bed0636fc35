// The schema engine: built-in definitions and CRD schemas through the same functions.

import t from 'tap'
import type { KubeObject, Schema } from '../../../../src/sandbox/apiserver/kind.ts'
import { sharedDefinitions } from '../../../../src/sandbox/apiserver/schema/definitions.ts'
import {
  applyDefaults,
  findUnknownFields,
  pruneUnknown,
  validateObject,
} from '../../../../src/sandbox/apiserver/schema/validate.ts'

const podSchema: Schema = { $ref: 'io.k8s.api.core.v1.Pod' }
const serviceSchema: Schema = { $ref: 'io.k8s.api.core.v1.Service' }

function object(fields: Record<string, unknown>): KubeObject {
  return { apiVersion: 'v1', kind: 'Any', metadata: { name: 'a' }, ...structuredClone(fields) }
}

function said(schema: Schema, fields: Record<string, unknown>): string[] {
  return validateObject(schema, sharedDefinitions, object(fields)).map(
    ({ field, message }) => `${field}: ${message}`,
  )
}

t.test('every reference of the built-in definitions leads somewhere', async (t) => {
  const missing = new Set<string>()
  JSON.stringify(sharedDefinitions, (key, value: unknown) => {
    if (key === '$ref' && sharedDefinitions[String(value)] === undefined) missing.add(String(value))
    return value
  })
  t.same([...missing], [])
  t.ok(Object.keys(sharedDefinitions).length > 300, 'and there are as many as the API has')
})

t.test('definitions carry what merging and explaining need', async (t) => {
  const pod = sharedDefinitions['io.k8s.api.core.v1.PodSpec']?.properties
  t.match(pod?.['containers'], {
    'x-kubernetes-patch-merge-key': 'name',
    'x-kubernetes-patch-strategy': 'merge',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
  })
  t.equal(pod?.['volumes']?.['x-kubernetes-patch-strategy'], 'merge,retainKeys')
  const ports = sharedDefinitions['io.k8s.api.core.v1.ServiceSpec']?.properties?.['ports']
  t.same(ports?.['x-kubernetes-list-map-keys'], ['port', 'protocol'])
  t.same(sharedDefinitions['io.k8s.api.core.v1.ServicePort']?.required, ['port'])
  t.equal(pod?.['tolerations']?.['x-kubernetes-list-type'], 'atomic')
})

t.test('unknown fields are found by their path and can be removed', async (t) => {
  const cases: [string, Schema, Record<string, unknown>, string[]][] = [
    ['a misspelt field', serviceSchema, { spec: { prots: [] } }, ['spec.prots']],
    ['inside a list', serviceSchema, { spec: { ports: [{ port: 1, prot: 'TCP' }] } }, ['spec.ports[0].prot']],
    ['at the root', serviceSchema, { sepc: {} }, ['sepc']],
    ['in metadata', serviceSchema, { metadata: { name: 'a', lables: {} } }, ['metadata.lables']],
    ['free maps take anything', serviceSchema, { spec: { selector: { whatever: 'x' } } }, []],
    [
      'managed fields are free-form',
      serviceSchema,
      { metadata: { managedFields: [{ fieldsV1: { 'f:spec': {} } }] } },
      [],
    ],
    [
      'a field only Pods have',
      podSchema,
      { spec: { containers: [{ name: 'a', readinesProbe: {} }] } },
      ['spec.containers[0].readinesProbe'],
    ],
  ]
  for (const [name, schema, fields, expected] of cases) {
    const subject = object(fields)
    t.same(findUnknownFields(schema, sharedDefinitions, subject), expected, name)
    pruneUnknown(schema, sharedDefinitions, subject)
    t.same(findUnknownFields(schema, sharedDefinitions, subject), [], `${name}: gone after pruning`)
  }
})

t.test('the newest fields of the API are known', async (t) => {
  const spec = {
    containers: [
      {
        name: 'a',
        resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'NotRequired' }],
        restartPolicyRules: [],
      },
    ],
    hostnameOverride: 'x',
    resources: { limits: { cpu: 1 } },
    schedulingGates: [{ name: 'x' }],
    hostUsers: false,
  }
  t.same(findUnknownFields(podSchema, sharedDefinitions, object({ spec })), [])
  const service = {
    trafficDistribution: 'PreferSameNode',
    internalTrafficPolicy: 'Local',
    ipFamilies: ['IPv6'],
  }
  t.same(findUnknownFields(serviceSchema, sharedDefinitions, object({ spec: service })), [])
})

t.test('built-in objects are checked for types, enumerations and formats', async (t) => {
  const cases: [Record<string, unknown>, string[]][] = [
    [
      { spec: { type: 'LoadBalancr' } },
      [
        'spec.type: Unsupported value: "LoadBalancr": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
      ],
    ],
    [
      { spec: { ports: [{ port: '80' }] } },
      ['spec.ports[0].port: Invalid value: "80": spec.ports[0].port in body must be of type integer: "80"'],
    ],
    [{ spec: { ports: [{}] } }, ['spec.ports[0].port: Required value']],
    [
      {
        spec: {
          ports: [
            { port: 80, targetPort: 'http' },
            { port: 81, targetPort: 8080 },
          ],
        },
      },
      [],
    ],
    [{ spec: { ports: [{ port: 80, protocol: '' }] } }, []],
    [
      { spec: { selector: { a: 1 } } },
      ['spec.selector[a]: Invalid value: 1: spec.selector[a] in body must be of type string: 1'],
    ],
    [{ spec: { externalIPs: null, selector: null } }, []],
    [{ status: { conditions: [{ type: 'x', status: 'True' }] } }, []],
  ]
  for (const [fields, expected] of cases)
    t.same(said(serviceSchema, fields), expected, JSON.stringify(fields))
  const container = (resources: unknown): Record<string, unknown> => ({
    spec: { containers: [{ name: 'a', resources }] },
  })
  t.same(said(podSchema, container({ limits: { cpu: 2, memory: '1.5Gi' }, requests: { cpu: '100m' } })), [])
  t.equal(said(podSchema, container({ limits: { cpu: '1 core' } })).length, 1)
})

t.test('defaults fill what is absent, empty or null, and nothing else', async (t) => {
  const service = object({
    spec: {
      ports: [
        { port: 80, protocol: '' },
        { port: 53, protocol: 'UDP' },
      ],
      selector: null,
    },
  })
  applyDefaults(serviceSchema, sharedDefinitions, service)
  t.same(service['spec'], {
    ports: [
      { port: 80, protocol: 'TCP' },
      { port: 53, protocol: 'UDP' },
    ],
    type: 'ClusterIP',
    sessionAffinity: 'None',
  })
  const probe = { periodSeconds: 0, failureThreshold: 7, httpGet: { port: 80 } }
  const pod = object({
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'a', livenessProbe: probe }] },
  })
  applyDefaults(podSchema, sharedDefinitions, pod)
  t.match(pod['spec'], {
    terminationGracePeriodSeconds: 0,
    restartPolicy: 'Always',
    containers: [
      { livenessProbe: { periodSeconds: 10, failureThreshold: 7, httpGet: { path: '/', scheme: 'HTTP' } } },
    ],
  })
})

const custom: Schema = {
  type: 'object',
  required: ['spec'],
  properties: {
    spec: {
      type: 'object',
      required: ['size'],
      properties: {
        size: { type: 'integer', minimum: 1, maximum: 5 },
        mode: { type: 'string', enum: ['fast', 'safe'], default: 'safe' },
        name: { type: 'string', pattern: '^[a-z]+$', maxLength: 3 },
        port: { 'x-kubernetes-int-or-string': true },
        address: { type: 'string', format: 'ipv4' },
        maybe: { type: 'string', nullable: true },
        free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        template: {
          type: 'object',
          'x-kubernetes-embedded-resource': true,
          'x-kubernetes-preserve-unknown-fields': true,
        },
        tags: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set', maxItems: 2 },
        rules: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['port', 'protocol'],
          items: {
            type: 'object',
            properties: { port: { type: 'integer' }, protocol: { type: 'string', default: 'TCP' } },
          },
        },
        choice: {
          type: 'object',
          properties: { left: { type: 'string' }, right: { type: 'string' } },
          oneOf: [{ required: ['left'] }, { required: ['right'] }],
        },
        never: { type: 'string', not: { enum: ['forbidden'] } },
        labels: { type: 'object', additionalProperties: { type: 'string' } },
      },
    },
  },
}

t.test('custom schemas: every keyword refuses what it should, and only that', async (t) => {
  const cases: [Record<string, unknown>, string[]][] = [
    [
      {
        size: 3,
        mode: 'fast',
        name: 'abc',
        port: 'http',
        address: '10.0.0.1',
        tags: ['a'],
        labels: { x: 'y' },
      },
      [],
    ],
    [{}, ['spec.size: Required value']],
    [{ size: 0 }, ['spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1']],
    [{ size: 6 }, ['spec.size: Invalid value: 6: spec.size in body should be less than or equal to 5']],
    [{ size: 1.5 }, ['spec.size: Invalid value: 1.5: spec.size in body must be of type integer: 1.5']],
    [{ size: 1, mode: '' }, ['spec.mode: Unsupported value: "": supported values: "fast", "safe"']],
    [{ size: 1, name: 'A' }, [`spec.name: Invalid value: "A": spec.name in body should match '^[a-z]+$'`]],
    [{ size: 1, name: 'abcd' }, ['spec.name: Too long: may not be more than 3 bytes']],
    [
      { size: 1, port: true },
      ['spec.port: Invalid value: true: spec.port in body must be of type integer,string: true'],
    ],
    [
      { size: 1, address: '::1' },
      ['spec.address: Invalid value: "::1": spec.address in body must be of type ipv4: "::1"'],
    ],
    [{ size: 1, maybe: null, name: null }, []],
    [{ size: 1, tags: ['a', 'a'] }, ['spec.tags[1]: Duplicate value: "a"']],
    [{ size: 1, tags: ['a', 'b', 'c'] }, ['spec.tags: Too many: 3: must have at most 2 items']],
    [{ size: 1, rules: [{ port: 1 }, { port: 1, protocol: 'UDP' }] }, []],
    [
      { size: 1, rules: [{ port: 1 }, { port: 1, protocol: 'TCP' }] },
      ['spec.rules[1]: Duplicate value: {"port":1,"protocol":"TCP"}'],
    ],
    [{ size: 1, choice: { left: 'a' } }, []],
    [
      { size: 1, choice: { left: 'a', right: 'b' } },
      [
        'spec.choice: Invalid value: {"left":"a","right":"b"}: spec.choice in body must validate one and only one schema (oneOf)',
      ],
    ],
    [
      { size: 1, never: 'forbidden' },
      ['spec.never: Invalid value: "forbidden": spec.never in body must not validate the schema (not)'],
    ],
    [{ size: 1, template: { kind: 'x' } }, ['spec.template.apiVersion: Required value']],
    [
      { size: 1, labels: { a: 1 } },
      ['spec.labels[a]: Invalid value: 1: spec.labels[a] in body must be of type string: 1'],
    ],
  ]
  for (const [spec, expected] of cases) t.same(said(custom, { spec }), expected, JSON.stringify(spec))
})

t.test('custom schemas: pruning and defaults', async (t) => {
  const subject = object({
    spec: {
      size: 1,
      other: 1,
      free: { any: { thing: null } },
      template: { kind: 'x', metadata: { name: 'y', odd: 1 } },
      maybe: null,
      name: null,
    },
    status: {},
  })
  t.same(findUnknownFields(custom, sharedDefinitions, subject).sort(), [
    'spec.other',
    'spec.template.metadata.odd',
    'status',
  ])
  pruneUnknown(custom, sharedDefinitions, subject)
  applyDefaults(custom, sharedDefinitions, subject)
  t.same(subject['spec'], {
    size: 1,
    free: { any: { thing: null } },
    template: { kind: 'x', metadata: { name: 'y' } },
    maybe: null,
    mode: 'safe',
  })
})
