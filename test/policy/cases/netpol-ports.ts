// Upstream's end-to-end tests of NetworkPolicy about what and when: ports, protocols, policies that add up, and changes of everything live.

import type { PortProtocol } from '../../../src/model/policy.ts'
import {
  type CaseProbe,
  EVERYTHING,
  egress,
  ingress,
  inX,
  inY,
  is,
  isAt,
  networkPolicy,
  ns,
  one,
  open,
  type PolicyCase,
  podLabel,
  step,
} from './cluster.ts'

const fromY = [{ namespaceSelector: ns('y') }]

/** Into x/a, by a rule with these ports; `isOpen` for port and protocol. */
function intoXa(name: string, ports: readonly object[], isOpen: (probe: CaseProbe) => boolean): PolicyCase {
  return one(
    name,
    [networkPolicy('ports', ingress(podLabel('a'), { ports }))],
    (_, to, probe) => is(to, 'x/a') && !isOpen(probe),
  )
}

function basedOnPorts(protocol: PortProtocol): PolicyCase {
  return one(
    `NP-007 should enforce policy based on Ports (${protocol.toUpperCase()})`,
    [
      networkPolicy(
        'port',
        ingress(podLabel('a'), {
          from: fromY,
          ports: [{ port: 81, ...(protocol === 'tcp' ? {} : { protocol: protocol.toUpperCase() }) }],
        }),
      ),
    ],
    (from, to, probe) => is(to, 'x/a') && !(inY(from) && isAt(probe, protocol, 81)),
  )
}

const at80 = networkPolicy('at-80', ingress(EVERYTHING, { ports: [{ port: 80 }] }))
const outTo80 = networkPolicy('at-80', egress(EVERYTHING, { ports: [{ port: 80 }] }))

const ports: readonly PolicyCase[] = [
  basedOnPorts('tcp'),
  basedOnPorts('udp'),
  basedOnPorts('sctp'),
  one(
    'NP-001, NP-007 should enforce multiple, stacked policies with overlapping podSelectors',
    [
      networkPolicy('at-81', ingress(podLabel('a'), { from: fromY, ports: [{ port: 81 }] })),
      networkPolicy('at-80', ingress(EVERYTHING, { from: fromY, ports: [{ port: 80 }] })),
    ],
    (from, to, { protocol, port }) =>
      inX(to) && !(inY(from) && protocol === 'tcp' && (port === 80 || to.name === 'a')),
  ),
  one(
    'NP-009 should allow ingress access on one named port',
    [networkPolicy('named', ingress(EVERYTHING, { ports: [{ port: 'serve-81-tcp' }] }))],
    (_, to, probe) => inX(to) && !isAt(probe, 'tcp', 81),
  ),
  one(
    'NP-009 should allow ingress access from namespace on one named port',
    [networkPolicy('named', ingress(EVERYTHING, { from: fromY, ports: [{ port: 'serve-80-tcp' }] }))],
    (from, to, probe) => inX(to) && !(inY(from) && isAt(probe, 'tcp', 80)),
  ),
  one(
    'NP-009 should allow egress access on one named port',
    [networkPolicy('named', egress(EVERYTHING, { ports: [{ port: 'serve-80-tcp' }] }))],
    (from, _, probe) => inX(from) && !isAt(probe, 'tcp', 80),
  ),
  intoXa(
    'NP-009 a name of another protocol, and one that the pod lacks, open nothing',
    [{ port: 'serve-81-udp' }, { port: 'serve-82-tcp' }, { port: 'serve-80-sctp', protocol: 'SCTP' }],
    (probe) => isAt(probe, 'sctp', 80),
  ),
  intoXa(
    'NP-007 should enforce ingress policy allowing any port traffic to a server on a specific protocol',
    [{ protocol: 'TCP' }],
    ({ protocol }) => protocol === 'tcp',
  ),
  intoXa(
    "NP-014 should not mistakenly treat 'protocol: SCTP' as 'protocol: TCP', even if the plugin doesn't support SCTP",
    [{ protocol: 'SCTP', port: 81 }],
    (probe) => isAt(probe, 'sctp', 81),
  ),
  intoXa(
    "NP-014 should properly isolate pods that are selected by a policy allowing SCTP, even if the plugin doesn't support SCTP",
    [{ protocol: 'SCTP', port: 80 }],
    (probe) => isAt(probe, 'sctp', 80),
  ),
  intoXa(
    'NP-007 should not allow access by TCP when a policy specifies only UDP',
    [{ protocol: 'UDP', port: 81 }],
    (probe) => isAt(probe, 'udp', 81),
  ),
  intoXa(
    'NP-008 should support creating NetworkPolicy with endPort field: the range with both its ends',
    [
      { port: 79, endPort: 80 },
      { port: 81, endPort: 90, protocol: 'UDP' },
      { port: 82, endPort: 90, protocol: 'SCTP' },
    ],
    (probe) => isAt(probe, 'tcp', 80) || isAt(probe, 'udp', 81),
  ),
  intoXa(
    "NP-010 ports are the pod's: a rule for the Service's own port opens nothing",
    [{ port: 1080 }, { port: 81 }],
    (probe) => isAt(probe, 'tcp', 81),
  ),
  one(
    'NP-003 an empty list of ports or of peers is any',
    [
      networkPolicy(
        'empty',
        ingress(podLabel('a'), { from: fromY, ports: [] }, { from: [], ports: [{ port: 80 }] }),
      ),
    ],
    (from, to, probe) => is(to, 'x/a') && !inY(from) && !isAt(probe, 'tcp', 80),
  ),
  {
    name: 'NP-001 should enforce multiple ingress policies with ingress allow-all policy taking precedence',
    steps: [
      step('one port', [at80], (_, to, probe) => inX(to) && !isAt(probe, 'tcp', 80)),
      step('and all', [at80, networkPolicy('all', ingress(EVERYTHING, {}))], open),
    ],
  },
  {
    name: 'NP-001 should enforce multiple egress policies with egress allow-all policy taking precedence',
    steps: [
      step('one port', [outTo80], (from, _, probe) => inX(from) && !isAt(probe, 'tcp', 80)),
      step('and all', [outTo80, networkPolicy('all', egress(EVERYTHING, {}))], open),
    ],
  },
  one(
    'NP-002, NP-011 should work with Ingress, Egress specified together',
    [
      networkPolicy('both', {
        podSelector: podLabel('a'),
        ingress: [{ from: [{ podSelector: podLabel('b') }] }],
        egress: [{ ports: [{ port: 80 }] }],
      }),
    ],
    (from, to, probe) => (is(to, 'x/a') && !is(from, 'x/b')) || (is(from, 'x/a') && !isAt(probe, 'tcp', 80)),
  ),
]

const onXa = (from: object) => [networkPolicy('to-a', ingress(podLabel('a'), { from: [from] }))]
const fromNew = { namespaceSelector: { matchLabels: { new: 'yes' } } }
const fromNewPods = { podSelector: { matchLabels: { new: 'yes' } }, namespaceSelector: {} }
const NEW = { new: 'yes' }

const live: readonly PolicyCase[] = [
  {
    name: 'NP-015 should enforce updated policy',
    steps: [
      step('nobody', [networkPolicy('changing', ingress(EVERYTHING))], (_, to) => inX(to)),
      step(
        'from y at 81',
        [networkPolicy('changing', ingress(EVERYTHING, { from: fromY, ports: [{ port: 81 }] }))],
        (from, to, probe) => inX(to) && !(inY(from) && isAt(probe, 'tcp', 81)),
      ),
      step('everybody', [networkPolicy('changing', ingress(EVERYTHING, {}))], open),
    ],
  },
  {
    name: 'NP-015 should allow ingress access from updated namespace',
    steps: [
      step('no such label', onXa(fromNew), (_, to) => is(to, 'x/a')),
      {
        ...step('y gets it', onXa(fromNew), (from, to) => is(to, 'x/a') && !inY(from)),
        labels: { y: NEW },
      },
      step('and loses it', onXa(fromNew), (_, to) => is(to, 'x/a')),
    ],
  },
  {
    name: 'NP-015 should allow ingress access from updated pod',
    steps: [
      step('no such label', onXa(fromNewPods), (_, to) => is(to, 'x/a')),
      {
        ...step('x/b gets it', onXa(fromNewPods), (from, to) => is(to, 'x/a') && !is(from, 'x/b')),
        labels: { 'x/b': NEW },
      },
      {
        ...step('y/c instead', onXa(fromNewPods), (from, to) => is(to, 'x/a') && !is(from, 'y/c')),
        labels: { 'y/c': NEW },
      },
    ],
  },
  {
    name: 'NP-015 should deny ingress access to updated pod',
    steps: [
      {
        ...step('x/a gets the label', [networkPolicy('to-new', ingress({ matchLabels: NEW }))], (_, to) =>
          is(to, 'x/a'),
        ),
        labels: { 'x/a': NEW },
      },
      step('and loses it', [networkPolicy('to-new', ingress({ matchLabels: NEW }))], open),
    ],
  },
  {
    name: 'NP-015 should stop enforcing policies after they are deleted',
    steps: [
      step(
        'two of them',
        [networkPolicy('quiet', egress(EVERYTHING)), networkPolicy('closed', ingress(EVERYTHING))],
        (from, to) => inX(from) || inX(to),
      ),
      step('one deleted', [networkPolicy('closed', ingress(EVERYTHING))], (_, to) => inX(to)),
      step('both deleted', [], open),
    ],
  },
]

export const NETPOL_PORT_CASES: readonly PolicyCase[] = [...ports, ...live]
