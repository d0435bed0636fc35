// The page that `weir status` prints.

import t from 'tap'
import type { AgentStatus } from '../../../src/agent/status-view.ts'
import { formatStatus } from '../../../src/cli/status.ts'
import { STATUS } from './answers.ts'

const SEEN: readonly (readonly [what: string, line: RegExp])[] = [
  ['flows by state', /^Flows +50 \(10 half open, 40 established\)$/m],
  ['pods, not their addresses', /^Pods +1 on this node, beside the host's network; 2 addresses$/m],
  ['a drain', /^Drain +waiting: 120 packets a second of clients still come here$/m],
  ['memory of both halves', /^Memory +60\.0 MiB of the agent, 110\.0 MiB of tables in the kernel$/m],
  ['why an uplink is not at XDP', /^eth0 +up +tc +9000 +10\.0\.0\.1 +the driver has no XDP$/m],
  [
    'which uplink the default route lacks, and why',
    /^ipv4 +ours +10\.0\.0\.1 dev eth0 +10\.0\.1\.1 dev eth1: BFD: the router is silent$/m,
  ],
  ['how many routers are there', /^Routers +1 of 2 sessions established$/m],
  ['which is not, and why', /^tor2 +10\.0\.0\.2 +active +no carrier on to-tor2\. Mend: look$/m],
  ['a program with its number', /^weir_uplink_ingress +40 +tcx_ingress +eth0$/m],
  ['one row for many devices', /^weir_pod_tc +41 +tcx_ingress +5 devices$/m],
  ['a socket hook', /^weir_connect4 +50 +connect4 +cgroup$/m],
  [
    'a table nearly full, and its knob',
    /^flows +90 +100 +90 % nearly full +3\.0 MiB +datapath\.capacities\.flows$/m,
  ],
  ['a table of fixed size', /^nodes +1 +16384 +0 % +0\.5 MiB$/m],
  ['refused flows', /^7 packets of new flows found no place\.$/m],
  [
    'a refused configuration',
    /agent\.yaml +refused 1970-\S+, the last good stays: agent\.yaml is refused: routing: unknown key\n +'pers'; pools/,
  ],
  ['what waits for a restart', /agent\.yaml +changed, and waits for a restart of the agent: logLevel$/m],
  [
    'a routing on trial',
    /^candidate +on trial until 1970-01-01T00:01:00\.000Z: 'weir bgp confirm' keeps it$/m,
  ],
  [
    'what of a candidate waits, as the candidate’s own',
    /^candidate +waits for a restart of the agent and of gobgpd: routing\.loopbacks \(where tunnels end\)$/m,
  ],
  ['a source that is not followed', /^cilium +CiliumBGPClusterConfig fabric \(not followed\)$/m],
  ['what of the routing is not followed', /^routing\.peers\[1\] +routing\.peers\[0\] is named 'tor' too$/m],
  [
    'which rules the roles lack',
    /^\{ apiGroups: \[""\], resources: \[services\/status\], verbs: \[patch\] \} +ClusterRole +1970-/m,
  ],
  ['what the kernel lacks, and what is done', /^tcx +6\.6 +classifiers of clsact$/m],
]

for (const [what, line] of SEEN)
  t.test(`status tells ${what}`, async (t) => {
    t.match(formatStatus(STATUS), line)
  })

t.test('status fits a page, and what is empty is said in words', async (t) => {
  const why =
    'its driver takes no XDP program, for one of a long list of reasons that nobody reads to the end. '
  const uplinks = STATUS.uplinks.map((uplink) => ({ ...uplink, reason: why.repeat(3) }))
  const rule = `get,list,watch ${'ciliumloadbalancerippools.cilium.io '.repeat(4)}`
  const lackingRules = STATUS.lackingRules.map((row) => ({ ...row, rule }))
  const policyProblems = [`the agents' role does not grant list and watch of namespaces: ${why.repeat(3)}`]
  const text = formatStatus({ ...STATUS, uplinks, lackingRules, policyProblems })
  t.match(text, /^POLICY +WHAT\nkinds +the agents' role does not grant list and watch of namespaces/m)
  const wide = text.split('\n')
  t.strictSame(
    wide.filter((line) => line.length > 120),
    [],
  )
  const bare = formatStatus({ ...STATUS, uplinks: [], programs: [] })
  t.match(bare, /^No uplinks: /m)
  t.match(bare, /^No programs are attached: /m)
})

t.test('status leaves out what there is nothing to say of', async (t) => {
  const text = formatStatus({
    ...STATUS,
    features: [],
    lackingRules: [],
    defaultRoutes: [],
    sessions: [],
    configuration: {
      file: { file: '/etc/weir/agent.yaml', takenAtMs: 0, refused: undefined, waitForRestart: [] },
      candidate: undefined,
      waitForRestart: [],
      sources: [],
      problems: [],
    },
    flows: { swept: 0, refused: 0 } as AgentStatus['flows'],
  })
  t.match(text, /^Flows +not counted yet$/m)
  t.match(text, /every feature that is asked for/)
  t.notMatch(text, /refused|ALSO HERE|SETTING|CONFIGURATION|DEFAULT ROUTE|ROLES LACK|ROUTER|Routers/)
})
