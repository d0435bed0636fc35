// What the built-in kinds allocate, refuse and show.

import t from 'tap'
import type { AdmissionContext, KindDefinition, KubeObject } from '../../../../src/sandbox/apiserver/kind.ts'
import { humanDuration } from '../../../../src/sandbox/apiserver/kinds/age.ts'
import { builtinKinds } from '../../../../src/sandbox/apiserver/kinds/index.ts'
import { serviceIndexes } from '../../../../src/sandbox/apiserver/kinds/service-claims.ts'
import { sharedDefinitions } from '../../../../src/sandbox/apiserver/schema/definitions.ts'
import {
  applyDefaults,
  findUnknownFields,
  validateObject,
} from '../../../../src/sandbox/apiserver/schema/validate.ts'

const nowMs = Date.parse('2026-01-02T00:00:00Z')

interface World {
  ranges?: string[]
  services?: KubeObject[]
}

function contextOf({ ranges = ['10.96.0.0/16', 'fd00:96::/112'], services = [] }: World): AdmissionContext {
  let seed = 7
  return {
    nowMs: () => nowMs,
    randomBytes: (count) => Uint8Array.from({ length: count }, () => (seed = (seed * 73 + 41) % 251)),
    holders: (_group, _plural, index, key) =>
      services.filter((service) =>
        serviceIndexes[index as keyof typeof serviceIndexes](service).includes(key),
      ),
    clusterIpRanges: ranges,
    nodePortRange: { first: 30_000, last: 32_767 },
    dryRun: false,
  }
}

function kindNamed(name: string): KindDefinition {
  const found = builtinKinds.find((kind) => kind.kind === name)
  if (found === undefined) throw new Error(`no kind ${name}`)
  return found
}

interface Outcome {
  object: KubeObject
  errors: string[]
}

/** What the server does with a write, in its order. */
function write(
  name: string,
  fields: Record<string, unknown>,
  previous?: KubeObject,
  world: World = {},
): Outcome {
  const kind = kindNamed(name)
  const apiVersion = kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
  const object: KubeObject = {
    apiVersion,
    kind: name,
    metadata: { name: 'web', namespace: 'default' },
    ...structuredClone(fields),
  }
  const context = contextOf(world)
  applyDefaults(kind.schema, sharedDefinitions, object)
  kind.admit?.(object, previous, context)
  kind.allocate?.(object, previous, context)
  const errors = [
    ...validateObject(kind.schema, sharedDefinitions, object),
    ...(kind.validate?.(object, previous, context) ?? []),
  ]
  t.same(
    findUnknownFields(kind.schema, sharedDefinitions, object),
    [],
    `${name}: admission adds only fields the API has`,
  )
  return { object, errors: errors.map(({ field, message }) => `${field}: ${message}`) }
}

type Spec = Record<string, unknown>

function service(spec: Spec, previous?: KubeObject, world?: World): Outcome {
  return write('Service', { spec: { ports: [{ port: 80 }], ...spec } }, previous, world)
}

function specOf(outcome: Outcome): Spec {
  return outcome.object['spec'] as Spec
}

t.test('every kind has a schema and columns that begin with a name or end with one', async (t) => {
  for (const kind of builtinKinds) {
    t.ok(sharedDefinitions[kind.definitionName], kind.kind)
    t.ok(
      kind.columns.some((column) => column.name === 'Name'),
      `${kind.kind} shows its name`,
    )
    const cells = kind.columns.map((column) =>
      column.cell({ apiVersion: 'v1', kind: kind.kind, metadata: {} }, nowMs),
    )
    t.notOk(cells.includes(undefined as never), `${kind.kind}: an empty object can be shown`)
  }
})

t.test('Services get addresses of the families they ask for', async (t) => {
  const single = ['10.96.0.0/16']
  const cases: [string, Spec, string[] | undefined, RegExp[], Spec][] = [
    ['default', {}, undefined, [/^10\.96\./], { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] }],
    ['IPv6 only', { ipFamilies: ['IPv6'] }, undefined, [/^fd00:96::/], { ipFamilyPolicy: 'SingleStack' }],
    [
      'both',
      { ipFamilyPolicy: 'RequireDualStack' },
      undefined,
      [/^10\./, /^fd00:/],
      { ipFamilies: ['IPv4', 'IPv6'] },
    ],
    [
      'both, IPv6 first',
      { ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv6'] },
      undefined,
      [/^fd00:/, /^10\./],
      { ipFamilies: ['IPv6', 'IPv4'] },
    ],
    [
      'prefers both, has one',
      { ipFamilyPolicy: 'PreferDualStack' },
      single,
      [/^10\./],
      { ipFamilies: ['IPv4'] },
    ],
    ['chosen', { clusterIP: '10.96.7.7' }, undefined, [/^10\.96\.7\.7$/], { ipFamilies: ['IPv4'] }],
    ['chosen IPv6', { clusterIP: 'fd00:96::77' }, undefined, [/^fd00:96::77$/], { ipFamilies: ['IPv6'] }],
    [
      'one chosen, one allocated',
      { clusterIP: '10.96.7.7', ipFamilyPolicy: 'RequireDualStack' },
      undefined,
      [/^10\.96\.7\.7$/, /^fd00:/],
      {},
    ],
    [
      'headless',
      { clusterIP: 'None', selector: { a: 'b' } },
      undefined,
      [/^None$/],
      { ipFamilies: ['IPv4'] },
    ],
    [
      'headless without selector',
      { clusterIP: 'None' },
      single,
      [/^None$/],
      { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' },
    ],
  ]
  for (const [name, spec, ranges, addresses, expected] of cases) {
    const outcome = service(spec, undefined, ranges === undefined ? {} : { ranges })
    t.same(outcome.errors, [], name)
    const { clusterIPs, clusterIP } = specOf(outcome) as { clusterIPs: string[]; clusterIP: string }
    t.equal(clusterIPs.length, addresses.length, `${name}: as many addresses`)
    for (const [index, pattern] of addresses.entries()) t.match(clusterIPs[index], pattern, name)
    t.equal(clusterIP, clusterIPs[0], `${name}: clusterIP is the first`)
    t.match(specOf(outcome), expected, name)
  }
})

t.test('node ports are allocated, honoured, shared by protocols of one port, and released', async (t) => {
  const ports = [
    { name: 'u', port: 53, protocol: 'UDP' },
    { name: 't', port: 53 },
    { name: 'w', port: 80, nodePort: 30_080 },
  ]
  const made = service({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports })
  t.same(made.errors, [])
  const given = (specOf(made)['ports'] as { nodePort: number }[]).map((port) => port.nodePort)
  t.equal(given[0], given[1])
  t.equal(given[2], 30_080)
  t.ok(Number(specOf(made)['healthCheckNodePort']) >= 30_000)
  const updated = service(
    { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: ports.slice(0, 2) },
    made.object,
  )
  t.same(
    (specOf(updated)['ports'] as { nodePort: number }[]).map((port) => port.nodePort),
    given.slice(0, 2),
    'an update keeps them',
  )
  t.equal(specOf(updated)['healthCheckNodePort'], specOf(made)['healthCheckNodePort'])
  t.equal(specOf(updated)['clusterIP'], specOf(made)['clusterIP'])
  const smaller = write('Service', { spec: { ...specOf(made), type: 'ClusterIP' } }, made.object)
  t.same(smaller.errors, [])
  t.notMatch(specOf(smaller), { healthCheckNodePort: Number }, 'released with the type')
  for (const field of ['allocateLoadBalancerNodePorts', 'externalTrafficPolicy'])
    t.equal(specOf(smaller)[field], undefined, field)
  t.notOk((specOf(smaller)['ports'] as object[]).some((port) => 'nodePort' in port))
  const without = service({ type: 'LoadBalancer', allocateLoadBalancerNodePorts: false })
  t.equal((specOf(without)['ports'] as { nodePort?: number }[])[0]?.nodePort, undefined)
})

t.test('a Service moves between one family and two', async (t) => {
  const made = service({})
  const wider = write(
    'Service',
    { spec: { ...specOf(made), ipFamilyPolicy: 'PreferDualStack' } },
    made.object,
  )
  t.same(wider.errors, [])
  t.equal((specOf(wider)['clusterIPs'] as string[]).length, 2)
  t.equal(specOf(wider)['clusterIP'], specOf(made)['clusterIP'])
  const narrower = write(
    'Service',
    { spec: { ...specOf(wider), ipFamilyPolicy: 'SingleStack' } },
    wider.object,
  )
  t.same(narrower.errors, [])
  t.same(specOf(narrower)['clusterIPs'], specOf(made)['clusterIPs'])
  const named = write(
    'Service',
    { spec: { type: 'ExternalName', externalName: 'example.org', ports: specOf(made)['ports'] } },
    made.object,
  )
  t.same(named.errors, [])
  t.equal(specOf(named)['clusterIP'], undefined)
})

t.test('Services that cannot be are refused in the usual words', async (t) => {
  const other = service({
    type: 'NodePort',
    clusterIP: '10.96.0.10',
    ports: [{ port: 1, nodePort: 31_000 }],
  }).object
  other.metadata = { name: 'other', namespace: 'default' }
  const cases: [Spec, RegExp][] = [
    [
      { ports: [{ port: 70_000 }] },
      /^spec\.ports\[0\]\.port: Invalid value: 70000: must be between 1 and 65535, inclusive$/,
    ],
    [{ ports: [] }, /^spec\.ports: Required value$/],
    [{ ports: [{ port: 1 }, { port: 2, name: 'b' }] }, /^spec\.ports\[0\]\.name: Required value$/],
    [
      {
        ports: [
          { port: 1, name: 'a' },
          { port: 2, name: 'a' },
        ],
      },
      /^spec\.ports\[1\]\.name: Duplicate value: "a"$/,
    ],
    [
      {
        ports: [
          { port: 1, name: 'a' },
          { port: 1, name: 'b' },
        ],
      },
      /^spec\.ports\[1\]: Duplicate value/,
    ],
    [
      { ports: [{ port: 1, targetPort: 'bad_name' }] },
      /^spec\.ports\[0\]\.targetPort: Invalid value: "bad_name"/,
    ],
    [
      { ports: [{ port: 1, nodePort: 31_001 }] },
      /^spec\.ports\[0\]\.nodePort: Forbidden: may not be used when `type` is 'ClusterIP'$/,
    ],
    [
      { type: 'NodePort', ports: [{ port: 1, nodePort: 31_000 }] },
      /^spec\.ports\[0\]\.nodePort: Invalid value: 31000: provided port is already allocated$/,
    ],
    [{ type: 'NodePort', ports: [{ port: 1, nodePort: 80 }] }, /The range of valid ports is 30000-32767$/],
    [{ clusterIP: '10.96.0.10' }, /failed to allocate IP 10\.96\.0\.10: provided IP is already allocated$/],
    [{ clusterIP: '192.0.2.1' }, /is not in the valid range\. The range of valid IPs is 10\.96\.0\.0\/16$/],
    [
      { clusterIP: 'nonsense' },
      /^spec\.clusterIPs\[0\]: Invalid value: "nonsense": must be a valid IP address/,
    ],
    [{ clusterIPs: ['10.96.0.9'] }, /^spec\.clusterIPs: .*must be empty when `clusterIP` is not specified$/],
    [{ ipFamilies: ['IPv4', 'IPv6'] }, /^spec\.ipFamilyPolicy: .*when multiple 'ipFamilies' are specified$/],
    [{ clusterIP: '10.96.0.9', ipFamilies: ['IPv6'] }, /^spec\.clusterIPs\[0\]: .*expected an IPv6 value/],
    [
      { type: 'LoadBalancer', clusterIP: 'None' },
      /^spec\.clusterIPs\[0\]: .*may not be set to 'None' for LoadBalancer services$/,
    ],
    [{ type: 'ExternalName' }, /^spec\.externalName: Required value$/],
    [{ externalTrafficPolicy: 'Local' }, /may only be set for externally-accessible services$/],
    [
      { loadBalancerSourceRanges: ['10.0.0.0/8'] },
      /Forbidden: may only be used when `type` is 'LoadBalancer'$/,
    ],
    [{ type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0'] }, /must be a valid CIDR value/],
    [{ loadBalancerClass: 'a/b' }, /^spec\.loadBalancerClass: Forbidden/],
    [
      { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 90_000 } } },
      /must be greater than 0 and less than 86400$/,
    ],
    [{ externalIPs: ['127.0.0.1'] }, /may not be in the loopback range/],
    [{ type: 'LoadBalancer', ports: [{ port: 10_250 }] }, /may not expose port 10250/],
    [{ trafficDistribution: 'Near' }, /supported values: "PreferClose", "PreferSameNode", "PreferSameZone"$/],
  ]
  for (const [spec, pattern] of cases) {
    const { errors } = service(spec, undefined, { services: [other] })
    t.ok(errors.length >= 1, JSON.stringify(spec))
    t.match(errors[0], pattern)
  }
  const name = write('Service', { metadata: { name: '1web' }, spec: { ports: [{ port: 1 }] } })
  t.match(name.errors[0], /^metadata\.name: Invalid value: "1web": a DNS-1035 label/)
  const dual = service({ ipFamilyPolicy: 'RequireDualStack' }, undefined, { ranges: ['10.96.0.0/16'] })
  t.match(dual.errors[0], /not configured for dual-stack services$/)
})

t.test('what a Service may not change', async (t) => {
  const made = service({ type: 'LoadBalancer', loadBalancerClass: 'a/b' })
  const dual = service({ ipFamilyPolicy: 'RequireDualStack' })
  const moved = write('Service', { spec: { ...specOf(dual), clusterIP: '10.96.0.99' } }, dual.object)
  t.equal(moved.errors.length, 1, 'only the changed address is complained of')
  const cases: [Spec, RegExp][] = [
    [
      { clusterIP: '10.96.0.99', clusterIPs: ['10.96.0.99'] },
      /^spec\.clusterIPs\[0\]: .*may not change once set$/,
    ],
    [{ clusterIP: '10.96.0.99' }, /^spec\.clusterIPs\[0\]: .*may not change once set$/],
    [{ loadBalancerClass: 'c/d' }, /^spec\.loadBalancerClass: .*may not change once set$/],
  ]
  for (const [change, pattern] of cases)
    t.match(
      write('Service', { spec: { ...specOf(made), ...change } }, made.object).errors[0],
      pattern,
      JSON.stringify(change),
    )
})

t.test('affinity has a timeout only where it means something', async (t) => {
  t.match(specOf(service({ sessionAffinity: 'ClientIP' })), {
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } },
  })
  t.notOk('sessionAffinityConfig' in specOf(service({ sessionAffinity: 'None', sessionAffinityConfig: {} })))
})

function row(name: string, object: Record<string, unknown>, isWide = true): string {
  const kind = kindNamed(name)
  const full = {
    apiVersion: 'v1',
    kind: name,
    ...object,
    metadata: { name: 'a', creationTimestamp: '2026-01-01T00:00:00Z', ...(object['metadata'] as object) },
  }
  const columns = kind.columns.filter((column) => isWide || column.priority === 0)
  return columns.map((column) => `${column.name.toUpperCase()}=${column.cell(full, nowMs)}`).join(' ')
}

t.test('tables read as kubectl users know them', async (t) => {
  const spec = {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.5',
    clusterIPs: ['10.96.0.5'],
    ports: [{ port: 80, nodePort: 30_080, protocol: 'TCP' }],
  }
  const status = { loadBalancer: { ingress: [{ ip: '203.0.113.1' }, { ip: '2001:db8::1' }] } }
  t.equal(
    row('Service', { spec: { ...spec, selector: { b: '2', a: '1' } }, status }),
    'NAME=a TYPE=LoadBalancer CLUSTER-IP=10.96.0.5 EXTERNAL-IP=2001:db8::1,203.0.113.1 PORT(S)=80:30080/TCP AGE=24h SELECTOR=a=1,b=2',
  )
  t.match(row('Service', { spec }), /EXTERNAL-IP=<pending>/)
  const pod = { spec: { nodeName: 'node1', containers: [{ name: 'x' }, { name: 'y' }] } }
  const running = {
    phase: 'Running',
    podIP: '10.244.1.2',
    podIPs: [{ ip: '10.244.1.2' }],
    containerStatuses: [
      {
        name: 'x',
        ready: true,
        restartCount: 2,
        state: { running: {} },
        lastState: { terminated: { finishedAt: '2026-01-01T23:55:00Z' } },
      },
    ],
  }
  t.equal(
    row('Pod', { ...pod, status: running }),
    'NAME=a READY=1/2 STATUS=Running RESTARTS=2 (5m ago) AGE=24h IP=10.244.1.2 NODE=node1 NOMINATED NODE=<none> READINESS GATES=<none>',
  )
  const waiting = {
    phase: 'Pending',
    containerStatuses: [{ name: 'x', state: { waiting: { reason: 'ContainerCreating' } } }],
  }
  t.match(row('Pod', { ...pod, status: waiting }), /STATUS=ContainerCreating/)
  t.match(row('Pod', { ...pod, metadata: { deletionTimestamp: 'x' }, status: running }), /STATUS=Terminating/)
  t.match(
    row('Pod', {
      ...pod,
      status: { phase: 'Failed', containerStatuses: [{ name: 'x', state: { terminated: { exitCode: 3 } } }] },
    }),
    /STATUS=ExitCode:3/,
  )
  t.equal(
    row('EndpointSlice', {
      addressType: 'IPv4',
      ports: [{ port: 80 }],
      endpoints: ['1', '2', '3', '4'].map((end) => ({ addresses: [`10.0.0.${end}`] })),
    }),
    'NAME=a ADDRESSTYPE=IPv4 PORTS=80 ENDPOINTS=10.0.0.1,10.0.0.2,10.0.0.3 + 1 more... AGE=24h',
  )
  t.equal(
    row(
      'Node',
      {
        metadata: { labels: { 'node-role.kubernetes.io/worker': '' } },
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '10.255.0.1' }],
          nodeInfo: { kubeletVersion: 'v1.35.0' },
        },
      },
      false,
    ),
    'NAME=a STATUS=Ready,SchedulingDisabled ROLES=worker AGE=24h VERSION=v1.35.0',
  )
  t.equal(
    row('Deployment', { spec: { replicas: 3 }, status: { readyReplicas: 2, updatedReplicas: 3 } }, false),
    'NAME=a READY=2/3 UP-TO-DATE=3 AVAILABLE=0 AGE=24h',
  )
})

t.test('durations are as long as they need to be', async (t) => {
  const cases: [number, string][] = [
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [125, '2m5s'],
    [3599, '59m'],
    [10_800, '3h'],
    [11_100, '3h5m'],
    [86_400, '24h'],
    [172_800, '2d'],
    [176_400, '2d1h'],
    [86_400 * 30, '30d'],
    [86_400 * 800, '2y70d'],
    [86_400 * 365 * 9, '9y'],
  ]
  for (const [seconds, text] of cases) t.equal(humanDuration(seconds * 1000), text)
  t.equal(humanDuration(-5000), '<invalid>')
})

const container = { name: 'c', image: 'registry/app:1', ports: [{ containerPort: 80 }] }

t.test('pods are completed and kept as they are', async (t) => {
  const { object, errors } = write('Pod', { spec: { containers: [container] } })
  t.same(errors, [])
  t.match(object, {
    spec: {
      serviceAccountName: 'default',
      enableServiceLinks: true,
      containers: [{ imagePullPolicy: 'IfNotPresent' }],
    },
    status: { phase: 'Pending', qosClass: 'BestEffort' },
  })
  const spec = object['spec'] as Spec
  const changed = (fields: Spec): string[] =>
    write('Pod', { ...object, spec: { ...spec, ...fields } }, object).errors
  t.same(changed({ nodeName: 'node1' }), [], 'a scheduler may bind it')
  t.same(
    changed({ containers: [{ ...(spec['containers'] as Spec[])[0], image: 'registry/app:2' }] }),
    [],
    'images may change',
  )
  t.match(
    changed({ restartPolicy: 'Never' })[0],
    /^spec: Forbidden: pod updates may not change fields other than/,
  )
  t.match(
    changed({ containers: [...(spec['containers'] as Spec[]), container] })[0],
    /may not add or remove containers|Duplicate/,
  )
  const kind = kindNamed('Pod')
  t.equal(kind.deletionGraceSeconds?.(object), 0, 'nobody runs it: gone at once')
  t.equal(kind.deletionGraceSeconds?.({ ...object, spec: { ...spec, nodeName: 'n' } }), 30)
})

t.test('pods that cannot run are refused', async (t) => {
  const cases: [Spec, RegExp][] = [
    [{ containers: [] }, /^spec\.containers: Required value$/],
    [{ containers: [{ name: 'c' }] }, /^spec\.containers\[0\]\.image: Required value$/],
    [
      { containers: [{ ...container, name: 'C' }] },
      /^spec\.containers\[0\]\.name: Invalid value: "C": a lowercase RFC 1123 label/,
    ],
    [{ containers: [container, container] }, /^spec\.containers\[1\]\.name: Duplicate value: "c"$/],
    [
      { containers: [{ ...container, volumeMounts: [{ name: 'v', mountPath: '/v' }] }] },
      /volumeMounts\[0\]\.name: Not found: "v"$/,
    ],
    [
      { containers: [{ ...container, readinessProbe: {} }] },
      /readinessProbe: Required value: must specify a handler type$/,
    ],
    [
      { containers: [{ ...container, resources: { requests: { cpu: '2' }, limits: { cpu: '500m' } } }] },
      /must be less than or equal to cpu limit of 500m$/,
    ],
  ]
  for (const [spec, pattern] of cases)
    t.match(write('Pod', { spec }).errors[0], pattern, JSON.stringify(spec))
})

t.test('qualities of service', async (t) => {
  const qos = (resources: Spec): unknown =>
    (write('Pod', { spec: { containers: [{ ...container, resources }] } }).object['status'] as Spec)[
      'qosClass'
    ]
  t.equal(qos({ requests: { cpu: '1' } }), 'Burstable')
  t.equal(qos({ limits: { cpu: '1', memory: '1Gi' } }), 'Guaranteed')
})

t.test('EndpointSlices: hand-written ones are taken as they are, impossible ones refused', async (t) => {
  const good = {
    addressType: 'IPv6',
    ports: [{ port: 80 }, { name: 'all' }],
    endpoints: [
      {
        addresses: ['2001:db8::1'],
        nodeName: 'node1',
        conditions: { ready: false, serving: true, terminating: true },
      },
    ],
  }
  const { object, errors } = write('EndpointSlice', good)
  t.same(errors, [])
  t.match(object, {
    ports: [
      { name: '', protocol: 'TCP' },
      { name: 'all', protocol: 'TCP' },
    ],
    endpoints: good.endpoints,
  })
  const cases: [Spec, RegExp][] = [
    [{ addressType: 'IPv4' }, /must be an IPv4 address$/],
    [
      { endpoints: [{ addresses: [] }] },
      /^endpoints\[0\]\.addresses: Required value: must contain at least 1 address$/,
    ],
    [{ endpoints: [{ addresses: ['fe80::1'] }] }, /link-local range/],
    [{ ports: [{ port: 0 }] }, /^ports\[0\]\.port: .*must be between 1 and 65535, inclusive$/],
    [{ ports: [{ port: 1 }, { port: 2 }] }, /^ports\[1\]\.name: Duplicate value: ""$/],
    [
      { endpoints: Array.from({ length: 1001 }, () => good.endpoints[0]) },
      /^endpoints: Too many: 1001: must have at most 1000 items$/,
    ],
  ]
  for (const [change, pattern] of cases)
    t.match(write('EndpointSlice', { ...good, ...change }).errors[0], pattern)
  t.match(
    write('EndpointSlice', { ...good, addressType: 'FQDN', endpoints: [] }, object).errors[0],
    /^addressType: .*field is immutable$/,
  )
})

t.test('NetworkPolicies', async (t) => {
  const egress = [
    {
      ports: [{ port: 80, endPort: 90 }],
      to: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }],
    },
  ]
  const { object, errors } = write('NetworkPolicy', { spec: { egress } })
  t.same(errors, [])
  t.match(object['spec'], {
    podSelector: {},
    policyTypes: ['Ingress', 'Egress'],
    egress: [{ ports: [{ protocol: 'TCP' }] }],
  })
  const cases: [Spec, RegExp][] = [
    [{ ingress: [{ from: [{}] }] }, /^spec\.ingress\[0\]\.from\[0\]: Required value: must specify a peer$/],
    [
      { ingress: [{ from: [{ podSelector: {}, ipBlock: { cidr: '::/0' } }] }] },
      /may not specify both ipBlock and another peer$/,
    ],
    [
      { ingress: [{ ports: [{ port: 9, endPort: 8 }] }] },
      /endPort: .*must be greater than or equal to `port`$/,
    ],
    [{ ingress: [{ ports: [{ endPort: 8 }] }] }, /must be specified when `endPort` is set$/],
    [
      { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }] }] },
      /strict subset/,
    ],
  ]
  for (const [spec, pattern] of cases) t.match(write('NetworkPolicy', { spec }).errors[0], pattern)
})

t.test('Deployments', async (t) => {
  const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [container] } }
  const good = { selector: { matchLabels: { app: 'a' } }, template }
  const { object, errors } = write('Deployment', { spec: good })
  t.same(errors, [])
  t.match(object['spec'], {
    replicas: 1,
    revisionHistoryLimit: 10,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
  })
  const cases: [Spec, RegExp][] = [
    [{ ...good, selector: { matchLabels: { app: 'b' } } }, /`selector` does not match template `labels`$/],
    [{ ...good, replicas: -1 }, /^spec\.replicas: .*must be greater than or equal to 0$/],
    [
      { ...good, strategy: { type: 'Recreate', rollingUpdate: {} } },
      /may not be specified when strategy `type` is 'Recreate'$/,
    ],
    [{ template }, /^spec\.selector: Required value$/],
  ]
  for (const [spec, pattern] of cases) t.match(write('Deployment', { spec }).errors[0], pattern)
  const moved = {
    ...good,
    selector: { matchLabels: { app: 'b' } },
    template: { ...template, metadata: { labels: { app: 'b' } } },
  }
  t.match(write('Deployment', { spec: moved }, object).errors[0], /^spec\.selector: .*field is immutable$/)
})

t.test('small kinds', async (t) => {
  const node = write('Node', { spec: { podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'] } })
  t.same(node.errors, [])
  t.match(node.object['spec'], { podCIDR: '10.244.1.0/24' })
  t.match(
    write('Node', { spec: { podCIDRs: ['10.0.0.0/24', '10.1.0.0/24'] } }).errors[0],
    /no more than one CIDR for each IP family/,
  )
  t.match(
    write('Node', { spec: { podCIDR: '10.9.0.0/24' } }, node.object).errors[0],
    /may not change podCIDR/,
  )
  t.match(write('Namespace', {}).object, {
    status: { phase: 'Active' },
    spec: { finalizers: ['kubernetes'] },
  })
  t.match(write('Secret', { stringData: { a: 'b' } }).object, { type: 'Opaque', data: { a: 'Yg==' } })
  const fixed = write('ConfigMap', { immutable: true, data: { a: '1' } }).object
  t.match(
    write('ConfigMap', { immutable: true, data: { a: '2' } }, fixed).errors[0],
    /^data: Forbidden: field is immutable when/,
  )
  t.match(write('Lease', { spec: { leaseDurationSeconds: 0 } }).errors[0], /must be greater than 0$/)
  t.same(
    write('Lease', { spec: { holderIdentity: 'a', renewTime: '2026-01-01T00:00:00.123456Z' } }).errors,
    [],
  )
  t.match(
    write('RoleBinding', {
      roleRef: { kind: 'Role', name: 'r' },
      subjects: [{ kind: 'ServiceAccount', name: 's' }],
    }).errors[0],
    /subjects\[0\]\.namespace: Required value/,
  )
})
