// The family of figures of policy: what judging costs a packet, and what policy and changes of it cost the agent.

import { stayOnOneProcessor } from '../../src/sys/libc/processors.ts'
import type { Effort, Family, Measured } from '../frame/figure.ts'
import { Driver } from '../packet/driver.ts'
import { type AgentRound, measureAgent, type Pains } from './agent.ts'
import { agentFigures, changeFigures } from './agent-figures.ts'
import { measurePackets } from './packet.ts'
import { PLOTS } from './packet-figures.ts'

/** A round is an API server filled anew and a fresh agent, and takes most of a minute. */
const AGENT_ROUNDS_MAX = 3
const FULL: Pains = { changes: 100, settleMs: 3000 }
const QUICK: Pains = { changes: 10, settleMs: 1000 }

const ABOUT = `**Packets** are measured as in the family of single packets: \`BPF_PROG_TEST_RUN\` over many distinct flows, net of the driver, each figure the lowest of short
windows, median and spread over the rounds. Here policy is enforced, and compiled and written by the agent's own compiler and writer: ten policies by which
64 pods elsewhere (eight roles) may call, be called by and ping a hundred pods of this node at one port, and clients outside may call them by their Services; besides
them N other policies and N other identities, each of which lets one pod elsewhere call one of a hundred other pods of this node at a port of its
own. "The same 100 pods" is how packets between the first fare while the others merely exist; "flows of all" go to and from the others, so
that identities, rows and classes are all asked for, and the processor's caches hold few of them. What a pod sends is judged by the program at its device's tc
ingress, what is delivered to it by the one at tc egress, and what an uplink delivers to a Service's backend here by the uplink's XDP
program, which redirects it past the device's hook. A denied packet is judged anew each time: it leaves nothing behind. "Not enforced" and "no policy" are the same packets through
the same program where policy is off, and where it is on and nobody wrote any.

Before anything is timed: the rows in the kernel say of some of the flows what is expected, by a rule of the policy that is meant; of all packets of a
case none is counted if allowed, each under the denial of its direction if not; the flow table grows by one entry for each new flow and
not otherwise, with that rule and a generation that is current; and the program's verdict is looked at.

**Changes** are made to a real agent in a network namespace of its own, with the real programs and pinned maps, by the embedded API
server in a process of its own, over TLS: 5 000 pods that policy tells apart every one, 110 of them on this node, 995 NetworkPolicies with
six rules each, five ClusterNetworkPolicies over all pods, 50 namespaces, 1 000 Services. Only policies that select pods of this node are changed: the others cost the
kernel nothing. A change's time runs from the moment the API server hands the event to its watches until another process, which maps the kernel's
table of generations, has seen the last verdict change (and for a pod elsewhere, its identity); each time the kernel's rows must then say another thing of a
connection that the change is about. A round is of ${FULL.changes} changes of each kind, of ports twice as many. All processes share the machine's
cores. Memory is what is anonymous (RssAnon); mapped maps are the kernel's.`

async function measureAgents(effort: Effort): Promise<AgentRound[]> {
  const rounds: AgentRound[] = []
  const count = effort.isQuick ? 1 : Math.min(effort.rounds, AGENT_ROUNDS_MAX)
  for (let round = 0; round < count; round += 1) {
    effort.say(`the agent, round ${round + 1} of ${count}`)
    rounds.push(await measureAgent(effort.isQuick ? QUICK : FULL, effort))
  }
  return rounds
}

async function measure(effort: Effort): Promise<Measured> {
  // First: processes that are started later stay on one processor too.
  const agents = await measureAgents(effort)
  const { release } = stayOnOneProcessor()
  effort.defer(release)
  const driver = new Driver()
  effort.defer(() => driver.close())
  const packets = await measurePackets(effort, driver)
  return {
    figures: [...packets.figures, ...changeFigures(agents), ...agentFigures(agents)],
    plots: PLOTS,
    repeated: `${effort.rounds} rounds of packets, ${agents.length} of the agent`,
    remarks: packets.remarks,
    versions: {},
  }
}

export const policyFamily: Family = {
  name: 'policy',
  title: 'Policy: what judging costs, and what changes of it cost',
  about: ABOUT,
  measure,
}
