// The rule sets that Weir is measured against, held against kube-proxy's own: names of chains and rules as the expectations of its tests have
// them (Kubernetes 1.33, pkg/proxy/iptables/proxier_test.go and pkg/proxy/nftables/proxier_test.go), and jumps that lead somewhere.

import t from 'tap'
import * as iptables from '../../../../bench/rivals/iptables.ts'
import * as nftables from '../../../../bench/rivals/nftables.ts'
import type { ProxiedNode, ProxiedService } from '../../../../bench/rivals/service.ts'

const NODE: ProxiedNode = {
  address: '192.168.0.2',
  clusterCidr: '10.0.0.0/8',
  serviceCidr: '172.30.0.0/16',
}

function service(number: number, change: Partial<ProxiedService> = {}): ProxiedService {
  return {
    namespace: `ns${number}`,
    name: `svc${number}`,
    portName: 'p80',
    protocol: 'tcp',
    clusterIp: `172.30.0.4${number}`,
    port: 80,
    loadBalancerIp: undefined,
    externalLocal: false,
    healthCheckNodePort: undefined,
    endpoints: [{ address: `10.180.0.${number}`, port: 80, isLocal: true }],
    ...change,
  }
}

const inside = service(1)
const local = service(2, { loadBalancerIp: '1.2.3.4', externalLocal: true, healthCheckNodePort: 30_000 })
const spread = service(4, {
  loadBalancerIp: '5.6.7.8',
  endpoints: [4, 5].map((last) => ({ address: `10.180.0.${last}`, port: 80, isLocal: false })),
})
const ALL = [inside, local, spread]

const linesOf = (text: string) => text.split('\n').filter((line) => line !== '')

t.test('iptables: chains are named by the hash of what they are for', async (t) => {
  t.equal(iptables.serviceChain('SVC', inside), 'KUBE-SVC-XPGD46QRK7WJZT7O')
  t.equal(
    iptables.endpointChain(inside, { address: '10.180.0.1', port: 80, isLocal: true }),
    'KUBE-SEP-SXIVWICOYRO3J4NJ',
  )
  t.equal(iptables.serviceChain('EXT', local), 'KUBE-EXT-GNZBNJ2PO5MGZ6GT')
  t.equal(iptables.serviceChain('SVL', local), 'KUBE-SVL-GNZBNJ2PO5MGZ6GT')
})

t.test('iptables: the nat table, line by line', async (t) => {
  const text = iptables.iptablesChange([inside], NODE, [inside])
  const [, nat = ''] = text.split('*nat\n')
  t.same(linesOf(nat), [
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-NODEPORTS - [0:0]',
    ':KUBE-POSTROUTING - [0:0]',
    ':KUBE-MARK-MASQ - [0:0]',
    ':KUBE-SVC-XPGD46QRK7WJZT7O - [0:0]',
    ':KUBE-SEP-SXIVWICOYRO3J4NJ - [0:0]',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
    '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    '-A KUBE-SERVICES -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp -p tcp -d 172.30.0.41 --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O',
    '-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp -p tcp -d 172.30.0.41 --dport 80 ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ',
    '-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -j KUBE-SEP-SXIVWICOYRO3J4NJ',
    '-A KUBE-SEP-SXIVWICOYRO3J4NJ -m comment --comment ns1/svc1:p80 -s 10.180.0.1 -j KUBE-MARK-MASQ',
    '-A KUBE-SEP-SXIVWICOYRO3J4NJ -m comment --comment ns1/svc1:p80 -m tcp -p tcp -j DNAT --to-destination 10.180.0.1:80',
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    'COMMIT',
  ])
})

t.test('iptables: the filter table', async (t) => {
  const filter = linesOf(iptables.iptablesChange([local], NODE, [local]).split('*nat')[0] ?? '')
  t.same(filter.slice(-6), [
    '-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
    '-A KUBE-NODEPORTS -m comment --comment "ns2/svc2:p80 health check node port" -m tcp -p tcp --dport 30000 -j ACCEPT',
    '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
    '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
    '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    'COMMIT',
  ])
})

t.test('iptables: how packets get into the chains', async (t) => {
  const lines = linesOf(iptables.iptablesFull([inside], NODE))
  const chain = (name: string) => lines.filter((line) => line.startsWith(`-I ${name} `)).reverse()
  const targets = (name: string) => chain(name).map((line) => /-j (\S+)/.exec(line)?.[1])
  t.same(targets('FORWARD'), [
    'KUBE-PROXY-FIREWALL',
    'KUBE-FORWARD',
    'KUBE-SERVICES',
    'KUBE-EXTERNAL-SERVICES',
  ])
  t.same(targets('PREROUTING'), ['KUBE-SERVICES'])
  t.same(targets('POSTROUTING'), ['KUBE-POSTROUTING'])
  const isForNew = chain('FORWARD').map((line) => line.includes('--ctstate NEW'))
  t.same(isForNew, [true, false, true, true])
})

t.test('iptables: from a load-balancer address', async (t) => {
  const rules = linesOf(iptables.iptablesFull(ALL, NODE)).filter((line) => line.startsWith('-A KUBE-EXT'))
  const [ofLocal, ofSpread] = [iptables.serviceChain('EXT', local), iptables.serviceChain('EXT', spread)]
  const for2 = 'for ns2/svc2:p80 external destinations"'
  t.same(rules, [
    `-A ${ofLocal} -m comment --comment "pod traffic ${for2} -s 10.0.0.0/8 -j ${iptables.serviceChain('SVC', local)}`,
    `-A ${ofLocal} -m comment --comment "masquerade LOCAL traffic ${for2} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
    `-A ${ofLocal} -m comment --comment "route LOCAL traffic ${for2} -m addrtype --src-type LOCAL -j ${iptables.serviceChain('SVC', local)}`,
    `-A ${ofLocal} -j ${iptables.serviceChain('SVL', local)}`,
    `-A ${ofSpread} -m comment --comment "masquerade traffic for ns4/svc4:p80 external destinations" -j KUBE-MARK-MASQ`,
    `-A ${ofSpread} -j ${iptables.serviceChain('SVC', spread)}`,
  ])
})

t.test('iptables: each endpoint gets its share, and large clusters no comments', async (t) => {
  const many = service(3, {
    endpoints: Array.from({ length: 1001 }, (_, index) => ({
      address: `10.1.${index >> 8}.${index & 255}`,
      port: 80,
      isLocal: false,
    })),
  })
  const chances = (text: string) => [...text.matchAll(/--probability (\S+)/g)].map(([, chance]) => chance)
  t.same(chances(iptables.iptablesFull([spread], NODE)), ['0.5000000000'])
  const text = iptables.iptablesFull([many], NODE)
  t.same(chances(text).slice(-3), ['0.2500000000', '0.3333333333', '0.5000000000'])
  t.notMatch(text, /-> 10\.1\./)
  t.match(text, /--comment "ns3\/svc3:p80 cluster IP"/, 'only those of endpoints')
})

t.test('iptables: every jump leads to a chain that is there', async (t) => {
  const text = iptables.iptablesFull(ALL, NODE)
  const chains = new Set([...text.matchAll(/^:(\S+)/gm)].map(([, chain]) => chain))
  const targets = [...text.matchAll(/-j (KUBE-\S+)/g)].map(([, chain]) => chain)
  t.same(
    targets.filter((chain) => !chains.has(chain)),
    [],
  )
})

t.test('iptables: a change writes the dispatch of all and the chains of what changed', async (t) => {
  const text = iptables.iptablesChange(ALL, NODE, [spread], ['KUBE-SEP-GONE'])
  t.match(text, `:${iptables.serviceChain('SVC', spread)} - [0:0]`)
  t.notMatch(text, `:${iptables.serviceChain('SVC', inside)} - [0:0]`)
  t.match(text, `-d 172.30.0.41 --dport 80 -j ${iptables.serviceChain('SVC', inside)}`)
  t.match(text, /:KUBE-SEP-GONE - \[0:0\][\s\S]*-X KUBE-SEP-GONE/)
})

t.test('nftables: chains are named by hash and path', async (t) => {
  t.equal(nftables.serviceChain('service', inside), 'service-ULMVA6XW-ns1/svc1/tcp/p80')
  t.equal(nftables.serviceChain('external', local), 'external-42NFTM6N-ns2/svc2/tcp/p80')
  t.equal(nftables.serviceChain('local', local), 'local-42NFTM6N-ns2/svc2/tcp/p80')
  const [first, second] = spread.endpoints
  t.equal(first && nftables.endpointChain(spread, first), 'endpoint-UNZV3OEC-ns4/svc4/tcp/p80__10.180.0.4/80')
  t.equal(
    second && nftables.endpointChain(spread, second),
    'endpoint-5RFCDDV7-ns4/svc4/tcp/p80__10.180.0.5/80',
  )
})

t.test('nftables: a Service', async (t) => {
  const lines = linesOf(nftables.nftablesFull([spread], NODE))
  const rules = lines.filter((line) => /^add rule ip kube-proxy \S+\//.test(line))
  const chain = 'LAUZTJTB-ns4/svc4/tcp/p80'
  const [first, second] = [
    'UNZV3OEC-ns4/svc4/tcp/p80__10.180.0.4/80',
    '5RFCDDV7-ns4/svc4/tcp/p80__10.180.0.5/80',
  ]
  t.same(rules, [
    `add rule ip kube-proxy service-${chain} ip daddr 172.30.0.44 ip saddr != 10.0.0.0/8 jump mark-for-masquerade`,
    `add rule ip kube-proxy external-${chain} jump mark-for-masquerade`,
    `add rule ip kube-proxy external-${chain} goto service-${chain}`,
    `add rule ip kube-proxy service-${chain} numgen random mod 2 vmap { 0 : goto endpoint-${first} , 1 : goto endpoint-${second} }`,
    `add rule ip kube-proxy endpoint-${first} ip saddr 10.180.0.4 jump mark-for-masquerade`,
    `add rule ip kube-proxy endpoint-${first} meta l4proto tcp dnat to 10.180.0.4:80`,
    `add rule ip kube-proxy endpoint-${second} ip saddr 10.180.0.5 jump mark-for-masquerade`,
    `add rule ip kube-proxy endpoint-${second} meta l4proto tcp dnat to 10.180.0.5:80`,
  ])
  t.same(
    lines.filter((line) => line.startsWith('add element')),
    [
      'add element ip kube-proxy nodeport-ips { 192.168.0.2 }',
      'add element ip kube-proxy cluster-ips { 172.30.0.44 }',
      `add element ip kube-proxy service-ips { 172.30.0.44 . tcp . 80 : goto service-${chain} }`,
      `add element ip kube-proxy service-ips { 5.6.7.8 . tcp . 80 : goto external-${chain} }`,
    ],
  )
})

t.test('nftables: from a load-balancer address of policy Local', async (t) => {
  const rules = linesOf(nftables.nftablesFull([local], NODE)).filter((line) =>
    line.includes(' external-42NFTM6N'),
  )
  const [external, cluster] = ['external-42NFTM6N-ns2/svc2/tcp/p80', 'service-42NFTM6N-ns2/svc2/tcp/p80']
  t.same(rules.slice(-4), [
    `add rule ip kube-proxy ${external} ip saddr 10.0.0.0/8 goto ${cluster} comment "short-circuit pod traffic"`,
    `add rule ip kube-proxy ${external} fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"`,
    `add rule ip kube-proxy ${external} fib saddr type local goto ${cluster} comment "short-circuit local traffic"`,
    `add rule ip kube-proxy ${external} goto local-42NFTM6N-ns2/svc2/tcp/p80`,
  ])
})

t.test('nftables: what does not depend on Services', async (t) => {
  const lines = new Set(linesOf(nftables.nftablesFull([], NODE)))
  for (const line of [
    'add chain ip kube-proxy filter-prerouting-pre-dnat { type filter hook prerouting priority -110 ; }',
    'add chain ip kube-proxy filter-forward { type filter hook forward priority 0 ; }',
    'add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100 ; }',
    'add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100 ; }',
    'add rule ip kube-proxy filter-prerouting-pre-dnat ct state new jump firewall-check',
    'add rule ip kube-proxy filter-forward ct state new jump service-endpoints-check',
    'add rule ip kube-proxy filter-forward ct state new jump cluster-ips-check',
    'add rule ip kube-proxy nat-prerouting jump services',
    'add rule ip kube-proxy nat-postrouting jump masquerading',
    'add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips',
    'add rule ip kube-proxy masquerading mark and 0x4000 == 0 return',
    'add rule ip kube-proxy masquerading masquerade fully-random',
    'add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; comment "ClusterIP, ExternalIP and LoadBalancer IP traffic" ; }',
  ])
    t.ok(lines.has(line), line)
})

t.test('nftables: nothing leads to a chain before it is there', async (t) => {
  const known = new Set<string>()
  for (const line of linesOf(nftables.nftablesFull(ALL, NODE))) {
    const made = /^add chain ip kube-proxy (\S+)/.exec(line)?.[1]
    if (made !== undefined) known.add(made)
    for (const [, target = ''] of line.matchAll(/(?:goto|jump) ([a-z]\S+)/g)) t.ok(known.has(target), line)
  }
})

t.test('a Local Service without an endpoint on the node is refused', async (t) => {
  const nowhere = { ...local, endpoints: local.endpoints.map((one) => ({ ...one, isLocal: false })) }
  t.throws(() => iptables.iptablesFull([nowhere], NODE), /ns2\/svc2:p80 has no endpoint on the node/)
  t.throws(() => nftables.nftablesFull([nowhere], NODE), /ns2\/svc2:p80/)
})
