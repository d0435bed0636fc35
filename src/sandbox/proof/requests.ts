// Claims about requests: from outside clients to the VIPs, and from a pod and a node to the ClusterIPs. By curl.

import { type Host, podHost, runIn } from '../host.ts'
import { countersOf, type Finding, type ProofContext, packets, urlOf } from './context.ts'

const REQUESTS = 200
const CURL_TIMEOUT_S = 5

interface Answers {
  readonly asked: number
  readonly byPod: ReadonlyMap<string, number>
}

/** `count` requests by one curl, each on a connection of its own. */
async function curlMany(host: Host, address: string, count: number): Promise<Answers> {
  const { stdout } = await runIn(
    host,
    [
      ...['curl', '-s', '-g', '-m', String(CURL_TIMEOUT_S), '-H', 'Connection: close', '-w', '\\n'],
      ...Array.from({ length: count }, (_, index) => urlOf(address, `/hostname?${index}`)),
    ],
    { timeoutMs: 120_000 },
  )
  const byPod = new Map<string, number>()
  for (const line of stdout.split('\n').filter((text) => text !== ''))
    byPod.set(line, (byPod.get(line) ?? 0) + 1)
  return { asked: count, byPod }
}

function answered({ byPod }: Answers): number {
  return [...byPod.values()].reduce((sum, count) => sum + count, 0)
}

export async function proveVip(context: ProofContext): Promise<Finding[]> {
  const { rack, service } = context
  const before = await countersOf(rack)
  const total = new Map<string, number>()
  let asked = 0
  let missing = 0
  for (const client of rack.plan.clients) {
    for (const vip of service.vips) {
      const answers = await curlMany(rack.host(client.name), vip, REQUESTS)
      asked += answers.asked
      missing += answers.asked - answered(answers)
      for (const [pod, count] of answers.byPod) total.set(pod, (total.get(pod) ?? 0) + count)
    }
  }
  const after = await countersOf(rack)
  return [
    {
      claim: `${REQUESTS} requests from each outside client to each VIP are all answered`,
      holds: missing === 0,
      seen: `${asked - missing} of ${asked}`,
    },
    {
      claim: 'they are spread over all pods',
      holds: service.pods.every((pod) => (total.get(pod.name) ?? 0) > 0),
      seen: `${total.size} of ${service.pods.length} pods`,
      details: shareLines(total, asked),
    },
    entryFinding(rack.plan.nodes.map(({ name }) => [name, entries(before.get(name), after.get(name))])),
  ]
}

type CountersOf = Parameters<typeof packets>[0]

/** Packets that came from a client to this node first: to a pod here or tunnelled on. What came out of a tunnel entered elsewhere. */
function entries(before: CountersOf, after: CountersOf): number {
  const entered = (counters: CountersOf) => packets(counters, 'TO_LOCAL', 'TO_REMOTE')
  return entered(after) - entered(before)
}

function entryFinding(byNode: readonly (readonly [string, number])[]): Finding {
  return {
    claim: 'every node was an entry node',
    holds: byNode.every(([, count]) => count > 0),
    seen: `${byNode.filter(([, count]) => count > 0).length} of ${byNode.length} nodes`,
    details: byNode.map(([node, count]) => `${node.padEnd(10)} ${count} packets from clients`),
  }
}

function shareLines(byPod: ReadonlyMap<string, number>, asked: number): string[] {
  return [...byPod]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([pod, count]) => {
      const share = ((count / asked) * 100).toFixed(1)
      return `${pod.padEnd(28)} ${String(count).padStart(5)}  ${share.padStart(5)} %  ${'▇'.repeat(Math.round(Number(share) / 2))}`
    })
}

export async function proveClusterIp({ rack, kubectl, service }: ProofContext): Promise<Finding> {
  const node = (await kubectl('get', 'pod', 'client', '-o', 'jsonpath={.spec.nodeName}')).trim()
  const pod = podHost(rack.name, node, { namespace: 'default', name: 'client' })
  const details: string[] = []
  let holds = true
  for (const [label, host] of [
    ['pod default/client', pod],
    [`node ${node} itself`, rack.host(node)],
  ] as const) {
    for (const clusterIp of service.clusterIps) {
      const answers = await curlMany(host, clusterIp, 20)
      details.push(
        `${label} to ${clusterIp}: ${answered(answers)} of ${answers.asked}, ${answers.byPod.size} pods`,
      )
      holds &&= answered(answers) === answers.asked && answers.byPod.size > 1
    }
  }
  return {
    claim: 'a pod, and the node itself, reach the Service by ClusterIP',
    holds,
    seen: `${service.clusterIps.length} families`,
    details,
  }
}
