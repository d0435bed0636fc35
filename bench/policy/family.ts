// The family of figures of policy: what judging costs a packet, and what policy and changes of it cost the agent.

import { stayOnOneProcessor } from '../../src/sys/libc/processors.ts'
import { versionsOfRivals } from '../forward/versions.ts'
import type { Effort, Family, Measured } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { Driver } from '../packet/driver.ts'
import { type AgentRound, measureAgent, type Pains } from './agent.ts'
import { agentFigures, changeFigures } from './agent-figures.ts'
import { measurePackets } from './packet.ts'
import { PLOTS } from './packet-figures.ts'
import { measurePairs } from './pair.ts'
import { PODS_ON_NODE } from './pair-world.ts'

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
cores. Memory is what is anonymous (RssAnon); mapped maps are the kernel's.

**Beside others**: the same pods and policies as Weir's rows, as kube-router's iptables rules with ipsets, as Calico's, and as Calico's nftables rules with
sets and verdict maps (\`bench/rivals\`), each in a node of its own, measured in the same rounds. UDP packets of 64 bytes go from a pod through its veth, the node and
another's veth to the other pod, where they are dropped at tc. All take the stack's whole way between the veths, Weir too, whose programs hang at both
devices: it skips no part of it here, and *forwarding alone*, with no policy and no conntrack, is what all of them have in common. The figure is
CPU time of the generator's task and its softirqs over the packets sent. The node has ${numberText(PODS_ON_NODE)} pods. The callee and the caller are selected by the same nine policies, in both
directions, however many others there are; another receiver by a hundredth of the N others, of which the one in the middle of them lets the caller in. *Established* flows were
answered before; a *new* flow is one packet of ports never seen, in emptied tables; what is *denied* is of ports never seen each time, and kube-router
rejects (at the kernel's limited rate) where the others drop. 5 000 pods elsewhere, or N, are told apart.

What favours the others: of Calico the filter table alone is written, without its rules in raw, mangle and nat, and nobody has kube-proxy's rules beside; what is
looked through in a row has the pods and the policies that are measured in its middle; conntrack is made large and does not check checksums. What favours Weir: it has no
Services here, and no conntrack runs in its node. iptables is the system's own, which on Debian is that of nf_tables. A change of theirs is the commands they run, begun by a shell in the node, on texts made before: Calico's write the policy's
chain or the set's member; kube-router's read all and write all, as it does. A change of Weir's is compiling and writing, in this process. Neither has the API server's part, nor their controllers' own.
Not timed: sets and rules are two transactions with kube-router and Calico, so for a moment one is of before and the other of after a change; Weir's rows
have a generation. Before anything is timed, the same list of connections is tried with each: allowed, denied, answered, answers to nothing, and again
after a policy's port changed and was changed back.`

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
  effort.say("beside others' rule sets")
  const pairs = await measurePairs(effort)
  const { release } = stayOnOneProcessor()
  effort.defer(release)
  const driver = new Driver()
  effort.defer(() => driver.close())
  const packets = await measurePackets(effort, driver)
  return {
    figures: [...packets.figures, ...changeFigures(agents), ...agentFigures(agents), ...pairs.figures],
    plots: [...PLOTS, ...pairs.plots],
    repeated: `${effort.rounds} rounds of packets, ${agents.length} of the agent`,
    remarks: [...packets.remarks, ...pairs.remarks],
    versions: versionsOfRivals(['iptables', 'ipset', 'nft']),
  }
}

export const policyFamily: Family = {
  name: 'policy',
  title: 'Policy: what judging costs, and what changes of it cost',
  about: ABOUT,
  measure,
}
