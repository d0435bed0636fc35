// What one change of policy costs the compiler: processor time (the collector's threads are in it), how many rows, and the memory of it all.
//
//   node --expose-gc bench/policy/compile-change.ts [--identities 5000] [--policies 1000] [--pods-per-node 110] [--changes 500]

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { NAMESPACE_NAME_LABEL } from '../../src/model/policy.ts'
import { policyId, type WorldChange, wholeWorld } from '../../src/policy/compile/objects.ts'
import type { PolicyChange } from '../../src/policy/compile/rows.ts'
import { percentiles } from '../control/percentiles.ts'
import {
  BENCH_NODE,
  benchClusterPolicy,
  benchCompiler,
  benchPod,
  benchPolicy,
  benchWorld,
} from './cluster.ts'
import { CLUSTER_POLICIES, namespaceName, type PolicyClusterSize } from './objects.ts'

const { values } = parseArgs({
  options: {
    identities: { type: 'string', default: '5000' },
    policies: { type: 'string', default: '1000' },
    'pods-per-node': { type: 'string', default: '110' },
    changes: { type: 'string', default: '500' },
    only: { type: 'string' },
  },
})

const size: PolicyClusterSize = {
  identities: Number(values.identities),
  policies: Number(values.policies),
  podsPerNode: Number(values['pods-per-node']),
}
const changes = Number(values.changes)

/** What is in use, for RssAnon holds what the collector has not given back too. */
const heapMb = () => process.memoryUsage().heapUsed / 1e6

function anonymousMb(): number {
  globalThis.gc?.()
  const line = /RssAnon:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(line?.[1]) / 1024
}

const onePolicy = (policy: ReturnType<typeof benchPolicy>): WorldChange => ({
  policies: new Map([[policyId(policy), policy]]),
})

/** One change after another of one kind; each is undone by a later one. */
const KINDS: Readonly<Record<string, (index: number) => WorldChange>> = {
  'a port of a policy': (index) =>
    onePolicy(benchPolicy((index * 37) % (size.policies - CLUSTER_POLICIES), (index % 7) + 1)),
  'a policy deleted, or made again': (index) => {
    const policy = benchPolicy((Math.floor(index / 2) * 37) % (size.policies - CLUSTER_POLICIES))
    return { policies: new Map([[policyId(policy), index % 2 === 0 ? undefined : policy]]) }
  },
  'a policy over all pods': (index) =>
    onePolicy(benchClusterPolicy(index % CLUSTER_POLICIES, (index % 7) + 1)),
  'a policy with a label key that no rule referred to': (index) => {
    const policy = benchPolicy(1)
    const key = { key: 'pod-template-hash', operator: 'Exists' as const, values: [] }
    const subject = {
      ...policy.subject,
      kind: 'pods' as const,
      pods: { requirements: [] },
      namespaces: { requirements: [] },
    }
    const peers = [{ kind: 'pods' as const, namespaces: { requirements: [] }, pods: { requirements: [key] } }]
    const rules = [{ action: 'allow' as const, path: 'spec.ingress[0]', peers, ports: 'any' as const }]
    const keyed = {
      ...policy,
      key: 'team-1/keyed',
      subject,
      ingress: { isolates: true, rules },
      egress: undefined,
    }
    return { policies: new Map([[policyId(keyed), index % 2 === 0 ? keyed : undefined]]) }
  },
  'a pod of another node started, or gone': (index) => {
    const pod = benchPod(size.identities + 1 + Math.floor(index / 2), size)
    return { pods: new Map([[pod.key, index % 2 === 0 ? pod : undefined]]) }
  },
  'a pod of this node started, or gone': (index) => {
    const pod = { ...benchPod(size.identities + 1 + Math.floor(index / 2), size), node: BENCH_NODE }
    return { pods: new Map([[pod.key, index % 2 === 0 ? pod : undefined]]) }
  },
  'labels of a namespace': (index) => {
    const name = namespaceName(index)
    return {
      namespaces: new Map([[name, { [NAMESPACE_NAME_LABEL]: name, team: `t${(index * 3) % 8}` }]]),
    }
  },
}

function rowsOf(change: PolicyChange): number {
  return change.reduce((sum, write) => sum + ('put' in write ? write.put.length : write.delete.length), 0)
}

const empty = anonymousMb()
const world = benchWorld(size)
const withWorld = anonymousMb()
let clock = 0
const compiler = benchCompiler(BENCH_NODE, { idleReferenceMs: 0 })
const begun = performance.now()
const first = rowsOf(compiler.apply(wholeWorld(world), clock))
const tookMs = performance.now() - begun
process.stdout.write(
  `${size.identities} pods, ${size.policies} policies: from nothing ${tookMs.toFixed(0)} ms, ${first} rows; ${JSON.stringify(compiler.size())}\n` +
    `RssAnon: ${empty.toFixed(1)} MB without, ${(withWorld - empty).toFixed(1)} MB more for the objects, ` +
    `${(anonymousMb() - withWorld).toFixed(1)} MB more for the compiler, heap ${heapMb().toFixed(1)}\n`,
)
for (const [kind, make] of Object.entries(KINDS)) {
  if (values.only !== undefined && !kind.includes(values.only)) continue
  const times: number[] = []
  let rows = 0
  for (let index = 0; index < changes; index += 1) {
    const change = make(index)
    clock += 1000
    const from = process.cpuUsage()
    const written = compiler.apply(change, clock)
    const { user, system } = process.cpuUsage(from)
    times.push((user + system) / 1000)
    rows += rowsOf(written)
  }
  const { p50, p99, max: most } = percentiles(times)
  process.stdout.write(
    `${kind}: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, most ${most.toFixed(2)} ms, ${(rows / changes).toFixed(0)} rows\n`,
  )
}
process.stdout.write(
  `afterwards: ${JSON.stringify(compiler.size())}, RssAnon ${anonymousMb().toFixed(1)} MB\n`,
)
