// Others that balance Services: kube-proxy's rules, in whichever form they are, IPVS, and the processes that make them.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { FAMILIES } from '../../model/address.ts'
import type { Nftables } from '../../sys/node-netlink/nftables.ts'
import type { Finding } from './finding.ts'
import { hasLegacyChain } from './legacy-iptables.ts'

/** The chain that packets to Services enter; kubelet makes other KUBE- chains, which are nobody's harm. */
const ENTRY_CHAIN = 'KUBE-SERVICES'
const NFTABLES_TABLE = 'kube-proxy'
/** By the process's name: what it does that we do too. MetalLB's has so common a name that its path decides. */
const OTHERS: Readonly<Record<string, { readonly does: string; readonly path?: string }>> = {
  'kube-proxy': { does: 'balances Services too' },
  'kube-router': { does: 'may balance and announce Services too' },
  'cilium-agent': { does: 'may balance and announce Services too' },
  'calico-node': { does: 'may balance and announce Services too' },
  speaker: { does: 'announces Services too, if it is MetalLB’s', path: '/speaker' },
}

export async function findProxies(nftables: Pick<Nftables, 'hasTable' | 'hasChain'>): Promise<Finding[]> {
  return [...(await ruleFindings(nftables)), ...ipvsFindings(), ...processFindings()]
}

async function ruleFindings(nftables: Pick<Nftables, 'hasTable' | 'hasChain'>): Promise<Finding[]> {
  const found: Finding[] = []
  for (const family of FAMILIES) {
    const command = family === 'ipv4' ? 'iptables' : 'ip6tables'
    const isNft = await nftables.hasChain(family, 'nat', ENTRY_CHAIN)
    if (isNft || hasLegacyChain(family, 'nat', ENTRY_CHAIN)) {
      const form = isNft ? 'nft' : 'legacy'
      found.push(rules(`${command} (${form})`, `chain ${ENTRY_CHAIN} of table nat`))
    }
    if (await nftables.hasTable(family, NFTABLES_TABLE))
      found.push(rules(`nftables (${family})`, `table ${NFTABLES_TABLE}`))
  }
  return found
}

function rules(where: string, what: string): Finding {
  return {
    kind: 'kube-proxy-rules',
    where,
    what: `${what} is there: rules of kube-proxy translate what reaches the host's stack before or beside us`,
    mend: "stop kube-proxy, then run 'kube-proxy --cleanup' once on this node",
    services: [],
  }
}

/** Two lines of heading, then what is served. */
const IPVS_HEADING_LINES = 3

function ipvsFindings(): Finding[] {
  const lines = readOr('/proc/thread-self/net/ip_vs', '').trim().split('\n')
  const virtual = lines.slice(IPVS_HEADING_LINES).filter((line) => /^(TCP|UDP|SCTP|FWM) /.test(line)).length
  if (virtual === 0) return []
  return [
    {
      kind: 'ipvs',
      where: 'ipvs',
      what: `${virtual} virtual servers are defined, which answer for Services before us`,
      mend: "stop who made them (kube-proxy in IPVS mode, kube-router), then 'ipvsadm --clear'",
      services: [],
    },
  ]
}

/** In our network namespace: containers of others may run one of their own. */
function processFindings(): Finding[] {
  const own = readlinkSync('/proc/thread-self/ns/net')
  const found: Finding[] = []
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const name = readOr(`/proc/${pid}/comm`, '').trim()
    const other = Object.hasOwn(OTHERS, name) ? OTHERS[name] : undefined
    if (!other || namespaceOf(pid) !== own) continue
    const path = readOr(`/proc/${pid}/cmdline`, '').split('\0')[0]
    if (other.path !== undefined && other.path !== path) continue
    found.push({
      kind: 'process',
      where: `process ${pid}`,
      what: `${name} runs here, and ${other.does}`,
      mend: `take it from this node, or have it leave Services alone`,
      services: [],
    })
  }
  return found
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return otherwise
  }
}
