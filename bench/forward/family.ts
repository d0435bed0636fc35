import type { Family } from '../frame/figure.ts'
import { measure } from './measure.ts'

export const forwardFamily: Family = {
  name: 'forward',
  title: 'Through a node, beside what others run',
  about: `UDP packets of 64 bytes go from a client through a node to their end: a pod of the node, which gets a packet of its stack and drops it
at tc, or another node, for which the frame leaves and is dropped as one. Client, node and backend are network namespaces over veth; each
contestant at each number of Services has a node of its own, and all are measured in turns. The whole way is worked off in the softirq of the
generator's task (XDP live frames), on one core; the figure is that task's CPU time, with ksoftirqd's, over the packets that arrived, and so
holds the generator and the veths too, alike for all: what the box can do at most is *bare XDP redirect*. A window that loses more than
0.1 % is not counted.

Each Service has ten endpoints. Up to 64 have a load-balancer address, spread evenly among the others; packets go to these. Half of them have
their endpoints on the node and externalTrafficPolicy Local, so that kube-proxy need not masquerade; the others have theirs elsewhere: Weir tunnels
(DSR), kube-proxy masquerades, as does *Weir XDP, masquerading*. *Weir tc* is the fall-back for uplinks that take no XDP. kube-proxy's rule
sets are written as it writes them (\`bench/rivals\`) and loaded by \`iptables-restore\` and by \`nft\` in one transaction; kube-proxy itself, like
Weir's agent, does not run meanwhile. Conntrack has room for all flows, does not time them out, and does not check checksums (a NIC has).
A *new* flow is one packet of a tuple never seen, in tables emptied before each window; *flow table full*: every place is taken by earlier flows.

Programming is the time for all Services (\`iptables-restore\` into empty tables, one \`nft -f\`, Weir's planner and map writes), and for one
endpoint taken out and put back (\`iptables-restore --noflush\`, which names every Service again, as kube-proxy does); making objects or text is not in it.`,
  measure,
}
