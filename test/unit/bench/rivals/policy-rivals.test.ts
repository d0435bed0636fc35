// The rule sets of NetworkPolicy that Weir is measured against: rules as kube-router 2 and Calico 3.30 write them (facts of their sources and
// the expectations of their tests), jumps that lead somewhere, and sets that are there.

import t from 'tap'
import { dispatchChains } from '../../../../bench/rivals/calico-chains.ts'
import {
  calicoIpsetChange,
  calicoIptablesChange,
  calicoIptablesFull,
} from '../../../../bench/rivals/calico-iptables.ts'
import {
  calicoNftablesChange,
  calicoNftablesFull,
  calicoNftSetChange,
} from '../../../../bench/rivals/calico-nftables.ts'
import type { GuardedNode, GuardedPod, GuardedPolicy } from '../../../../bench/rivals/guarded.ts'
import { kubeRouterTexts } from '../../../../bench/rivals/kube-router.ts'

const pod = (name: string, address: string): GuardedPod => ({
  ...{ namespace: 'shop', name, address },
  device: `cali${name}`,
})
const [web, db] = [pod('web', '10.0.0.1'), pod('db', '10.0.0.2')]
const fromWeb: GuardedPolicy = {
  ...{ namespace: 'shop', name: 'from-web', selector: 'db', addresses: [db.address] },
  ingress: [
    {
      peers: [{ selector: 'web', addresses: ['10.0.0.1', '10.1.0.1'] }],
      ports: [{ protocol: 'tcp', port: 5432 }],
    },
  ],
  egress: undefined,
}
const both: GuardedPolicy = {
  ...{ namespace: 'shop', name: 'both', selector: 'db', addresses: [db.address] },
  ingress: [{ peers: [{ selector: 'web', addresses: ['10.0.0.1', '10.1.0.1'] }], ports: [] }],
  egress: [{ peers: [{ selector: 'far', addresses: ['10.9.0.1'] }], ports: [] }],
}
const NODE: GuardedNode = { pods: [web, db], policies: [fromWeb, both] }

const linesOf = (text: string) => text.split('\n').filter((line) => line !== '')
/** Without comments, which hold hashes and prose. */
const bare = (line: string) =>
  line.replaceAll(/-m comment --comment "[^"]*" /g, '').replace(/ comment "[^"]*"$/, '')
const rulesIn = (text: string, chain: string) =>
  linesOf(text)
    .filter((line) => line.startsWith(`-A ${chain} `))
    .map((line) => bare(line).slice(`-A ${chain} `.length))

function chainOf(text: string, prefix: string, place = 0): string {
  const names = [...text.matchAll(/^:(\S+) /gm)].map(([, name = '']) => name)
  return names.filter((name) => name.startsWith(prefix))[place] ?? ''
}

/** Of text for iptables-restore. */
function danglingJumps(text: string): string[] {
  const chains = new Set([...text.matchAll(/^:(\S+) /gm)].map(([, name]) => name))
  const targets = ['ACCEPT', 'DROP', 'RETURN', 'MARK', 'REJECT', 'NFLOG']
  return [...text.matchAll(/(?:-j|-g|--jump|--goto) (\S+)/g)]
    .map(([, name = '']) => name)
    .filter((name) => !chains.has(name) && !targets.includes(name))
}

function unknownSets(rules: string, sets: string): string[] {
  const known = new Set([...sets.matchAll(/^create (\S+)/gm)].map(([, name]) => name))
  return [...rules.matchAll(/--match-set (\S+)/g)]
    .map(([, name = '']) => name)
    .filter((name) => !known.has(name))
}

t.test('kube-router: a policy marks what it allows and returns', async (t) => {
  const { rules, sets } = kubeRouterTexts(NODE, '1')
  const [source, target] = ['KUBE-SRC-', 'KUBE-DST-'].map((prefix) => {
    const set = new RegExp(`${prefix}\\w{16}`).exec(
      rulesIn(rules, chainOf(rules, 'KUBE-NWPLCY-', 2))[0] ?? '',
    )
    return set?.[0] ?? ''
  })
  const match = `-m set --match-set ${source} src -m set --match-set ${target} dst -p tcp -m tcp --dport 5432`
  t.same(rulesIn(rules, chainOf(rules, 'KUBE-NWPLCY-', 2)), [
    `${match} -j MARK --set-xmark 0x10000/0x10000`,
    `${match} -m mark --mark 0x10000/0x10000 -j RETURN`,
  ])
  t.same(danglingJumps(rules), [])
  t.same(unknownSets(rules, sets), [])
})

t.test('kube-router: a pod runs through its policies, and without a mark is rejected', async (t) => {
  const { rules } = kubeRouterTexts(NODE, '1')
  const [first, second] = [2, 3].map((place) => chainOf(rules, 'KUBE-NWPLCY-', place))
  t.same(rulesIn(rules, chainOf(rules, 'KUBE-POD-FW-', 1)), [
    '-j KUBE-NWPLCY-COMMON',
    '-m addrtype --src-type LOCAL -d 10.0.0.2 -j ACCEPT',
    `-d 10.0.0.2 -j ${first}`,
    `-j ${second}`,
    '-m mark ! --mark 0x10000/0x10000 -m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100',
    '-m mark ! --mark 0x10000/0x10000 -j REJECT',
    '-j MARK --set-mark 0/0x10000',
    '-j MARK --set-mark 0x20000/0x20000',
  ])
  const open = chainOf(rules, 'KUBE-POD-FW-', 0)
  t.same(rulesIn(rules, open).slice(2, 4), [
    '-s 10.0.0.1 -j KUBE-NWPLCY-DEFAULT',
    '-d 10.0.0.1 -j KUBE-NWPLCY-DEFAULT',
  ])
  t.same(
    rulesIn(rules, 'KUBE-ROUTER-FORWARD').filter((rule) => rule.includes('10.0.0.1')),
    [
      `-d 10.0.0.1 -j ${open}`,
      `-m physdev --physdev-is-bridged -d 10.0.0.1 -j ${open}`,
      `-s 10.0.0.1 -j ${open}`,
      `-m physdev --physdev-is-bridged -s 10.0.0.1 -j ${open}`,
    ],
  )
})

t.test('kube-router: each sync has chains of its own, and the same sets, filled beside', async (t) => {
  const [first, second] = ['1', '2'].map((version) => kubeRouterTexts(NODE, version))
  t.not(chainOf(first?.rules ?? '', 'KUBE-POD-FW-'), chainOf(second?.rules ?? '', 'KUBE-POD-FW-'))
  t.equal(first?.sets, second?.sets)
  t.match(
    first?.sets,
    /create (KUBE-SRC-\w+) .*\nadd (TMP-\w+) 10\.0\.0\.1 timeout 0\nadd \2 10\.1\.0\.1 timeout 0\nswap \2 \1\nflush \2\n/,
  )
})

t.test('Calico: a policy of iptables', async (t) => {
  const { rules, sets } = calicoIptablesFull(NODE, 'cali')
  const [, set = ''] =
    /create (\S+) hash:net family inet maxelem 1048576\nadd \1 10\.0\.0\.1\n/.exec(sets) ?? []
  t.same(rulesIn(rules, chainOf(rules, 'cali-pi-')), [
    `-p tcp -m set --match-set ${set} src -m multiport --destination-ports 5432 --jump MARK --set-mark 0x10000/0x10000`,
  ])
  t.equal(calicoIpsetChange(set, '10.1.0.9', true), `add ${set} 10.1.0.9\n`)
  t.same(linesOf(calicoIptablesChange(fromWeb)).slice(0, 2), [
    '*filter',
    `:${chainOf(rules, 'cali-pi-')} - [0:0]`,
  ])
  t.same(danglingJumps(rules), [])
  t.same(unknownSets(rules, sets), [])
})

t.test('Calico: a device that two policies select reaches them through their group', async (t) => {
  const { rules } = calicoIptablesFull(NODE, 'cali')
  const group = chainOf(rules, 'cali-gi-')
  t.same(rulesIn(rules, group), [
    `--jump ${chainOf(rules, 'cali-pi-', 0)}`,
    `-m mark --mark 0x0/0x30000 --jump ${chainOf(rules, 'cali-pi-', 1)}`,
  ])
  t.same(rulesIn(rules, 'cali-tw-calidb'), [
    '-m conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT',
    '-m conntrack --ctstate INVALID --jump DROP',
    '--jump MARK --set-mark 0/0x30000',
    '--jump MARK --set-mark 0/0x20000',
    `-m mark --mark 0x0/0x20000 --jump ${group}`,
    '-m mark --mark 0x10000/0x10000 --jump RETURN',
    '-m mark --mark 0x0/0x20000 --jump DROP',
    '--jump cali-pri-kns.shop',
    '-m mark --mark 0x10000/0x10000 --jump RETURN',
    '--jump DROP',
  ])
  // One alone needs none.
  t.ok(
    rulesIn(rules, 'cali-fw-calidb').includes(
      `-m mark --mark 0x0/0x20000 --jump ${chainOf(rules, 'cali-po-')}`,
    ),
  )
})

t.test('Calico: devices are found in two steps by rules', async (t) => {
  const pods = ['a1', 'a2', 'b1'].map((name) => pod(name, '10.0.0.3'))
  const [child, root] = dispatchChains(pods, 'from', 'cali')
  t.same(
    child?.rules.map(({ action }) => action),
    [{ goto: 'cali-fw-calia1' }, { goto: 'cali-fw-calia2' }, 'drop'],
  )
  t.same(
    root?.rules.map(({ match, action }) => [match.inDevice, action]),
    [
      ['calia*', { goto: 'cali-from-wl-dispatch-a' }],
      ['calib1', { goto: 'cali-fw-calib1' }],
      [undefined, 'drop'],
    ],
  )
})

t.test('Calico: the same chains in nftables, devices by a map', async (t) => {
  const text = calicoNftablesFull(NODE, 'cali')
  const added = linesOf(text).map(bare)
  const set = /ip saddr @(\S+)/.exec(text)?.[1] ?? ''
  const chain = /add rule ip calico (filter-cali-pi-\S+)/.exec(text)?.[1] ?? ''
  for (const line of [
    `add set ip calico ${set} { type ipv4_addr ; flags interval ; }`,
    `add element ip calico ${set} { 10.0.0.1 , 10.1.0.1 }`,
    'add element ip calico filter-cali-to-wl-dispatch { "calidb" : goto filter-cali-tw-calidb }',
    'add rule ip calico filter-cali-to-wl-dispatch oifname vmap @filter-cali-to-wl-dispatch',
    'add rule ip calico filter-cali-FORWARD oifname "cali*" counter jump filter-cali-to-wl-dispatch',
    'add rule ip calico filter-cali-tw-calidb ct state established,related counter accept',
    'add rule ip calico filter-cali-tw-calidb counter meta mark set mark and 0xfffcffff',
    `add rule ip calico ${chain} meta l4proto tcp ip saddr @${set} th dport { 5432 } counter meta mark set mark or 0x10000`,
  ])
    t.ok(added.includes(line), line)
  const chains = new Set([...text.matchAll(/^add chain ip calico (\S+)/gm)].map(([, name]) => name))
  const targets = [...text.matchAll(/(?:jump|goto) (\S+)/g)].map(([, name]) => name)
  t.same(
    targets.filter((name) => !chains.has(name)),
    [],
  )
  t.match(calicoNftablesChange(fromWeb), new RegExp(`^flush chain ip calico ${chain}\nadd rule`))
  t.equal(calicoNftSetChange(set, '10.1.0.9', false), `delete element ip calico ${set} { 10.1.0.9 }\n`)
})
