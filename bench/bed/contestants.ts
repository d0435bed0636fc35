// What stands in the node of a bed: Weir at either hook, kube-proxy's two rule sets, the kernel's forwarding alone. Each is set up from the
// same Services, and tells how long its kernel took to be programmed.

import type { BpfLink } from '../../src/sys/libbpf-ts/index.ts'
import { iptablesChange, iptablesFull, endpointChain as sepChain } from '../rivals/iptables.ts'
import { nftablesChange, nftablesFull, endpointChain as nftEndpointChain } from '../rivals/nftables.ts'
import type { ProxiedService } from '../rivals/service.ts'
import { PROXIED_NODE } from './cluster.ts'
import { forgetConnections } from './conntrack.ts'
import { type Bed, sysctl } from './topology.ts'
import { WeirNode, type WeirOptions } from './weir-node.ts'

export interface Contestant {
  readonly title: string
  readonly isPeer: boolean
  readonly bed: Bed
  /** How long the kernel took to take all Services. */
  readonly loadMs: number
  /** Forgets every connection. */
  forget(): void
  /**
   * Takes one endpoint out of the Service at that place of the list, and puts it back.
   * @returns how long the kernel took for each of both
   */
  changeEndpoint(place: number): readonly number[]
  /** What was made outside the bed's namespaces; the bed is closed by who made it. */
  close(): void
}

const MILLION = 1e6

export function timed(action: () => void): number {
  const begun = process.hrtime.bigint()
  action()
  return Number(process.hrtime.bigint() - begun) / MILLION
}

export async function timedLong(action: () => Promise<void>): Promise<number> {
  const begun = process.hrtime.bigint()
  await action()
  return Number(process.hrtime.bigint() - begun) / MILLION
}

/** Without one endpoint, in a list of its own. */
function without(services: readonly ProxiedService[], place: number) {
  const whole = services[place]
  const gone = whole?.endpoints.at(-1)
  if (!whole || !gone) throw new Error(`no Service ${place} with an endpoint`)
  const reduced = { ...whole, endpoints: whole.endpoints.slice(0, -1) }
  return {
    whole,
    reduced,
    gone,
    list: services.map((service, index) => (index === place ? reduced : service)),
  }
}

/** Flows live as long as a measurement; what a NIC has checked is not checked again. */
export function prepareConntrack(bed: Bed): void {
  bed.inside('node', () => {
    sysctl('net/netfilter/nf_conntrack_udp_timeout', '3600')
    sysctl('net/netfilter/nf_conntrack_udp_timeout_stream', '3600')
    sysctl('net/netfilter/nf_conntrack_checksum', '0')
  })
}

export async function iptablesMode(bed: Bed, services: readonly ProxiedService[]): Promise<Contestant> {
  const restore = (text: string) =>
    void bed.run('node', ['iptables-restore', '--noflush', '--counters'], text)
  const full = iptablesFull(services, PROXIED_NODE)
  const loadMs = await timedLong(() => bed.runLong('node', ['iptables-restore'], full))
  prepareConntrack(bed)
  return {
    title: 'iptables mode',
    isPeer: true,
    bed,
    loadMs,
    forget: () => forgetConnections(bed),
    changeEndpoint: (place) => {
      const { whole, reduced, gone, list } = without(services, place)
      const out = iptablesChange(list, PROXIED_NODE, [reduced], [sepChain(whole, gone)])
      const back = iptablesChange(services, PROXIED_NODE, [whole])
      return [timed(() => restore(out)), timed(() => restore(back))]
    },
    close: () => {},
  }
}

export async function nftablesMode(bed: Bed, services: readonly ProxiedService[]): Promise<Contestant> {
  const command = ['nft', '-f', '-']
  const load = (text: string) => void bed.run('node', command, text)
  const full = nftablesFull(services, PROXIED_NODE)
  const loadMs = await timedLong(() => bed.runLong('node', command, full))
  prepareConntrack(bed)
  return {
    title: 'nftables mode',
    isPeer: true,
    bed,
    loadMs,
    forget: () => forgetConnections(bed),
    changeEndpoint: (place) => {
      const { whole, reduced, gone } = without(services, place)
      const out = nftablesChange([reduced], PROXIED_NODE, [nftEndpointChain(whole, gone)])
      const back = nftablesChange([whole], PROXIED_NODE)
      return [timed(() => load(out)), timed(() => load(back))]
    },
    close: () => {},
  }
}

/** No netfilter, no translation: packets go to pods' own addresses. */
export function plainForwarding(bed: Bed): Contestant {
  return {
    title: 'plain forwarding',
    isPeer: true,
    bed,
    loadMs: 0,
    forget: () => {},
    changeEndpoint: () => [],
    close: () => {},
  }
}

/** Whatever comes in is redirected: what the box can do at most. */
export function bareRedirect(bed: Bed, link: BpfLink): Contestant {
  return { ...plainForwarding(bed), title: 'bare XDP redirect', close: () => link.close() }
}

export function weir(bed: Bed, options: WeirOptions): Contestant & { readonly node: WeirNode } {
  const node = new WeirNode(bed, options)
  return {
    title: options.hook === 'xdp' ? 'Weir XDP' : 'Weir tc',
    isPeer: false,
    bed,
    node,
    loadMs: node.loadMs,
    forget: () => node.forget(),
    changeEndpoint: (place) => node.changeEndpoint(place),
    close: () => node.close(),
  }
}
