// A node between two real routers, as in a rack: router 1 is BIRD, router 2 is FRR, each on a link of its own. Tests read what the
// routers say they were told, and what stands in their kernels.

import { execFileSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Address } from '../../../src/model/address.ts'
import type { BgpPeer, NodeRouting } from '../../../src/model/routing.ts'
import { frrCommand, frrOwner, isFrrReady } from '../../../src/sandbox/frr.ts'
import { createSpeaker, type Speaker, type SpeakerOptions } from '../../../src/speaker/speaker.ts'
import { link, NODE_ASN, RouterBed, routerAsn, until } from '../bgp/bed.ts'
import { allowed, peerOf, routingOf } from './bed.ts'

const quiet = { info: () => {}, warn: () => {} }
export const BIRD = 1
export const FRR = 2

/** Router `index` as a peer of the node; one IPv4 session. */
export const peer = (index: number, change: Partial<BgpPeer> = {}): BgpPeer =>
  peerOf(`tor${index}`, link(index).router4, {
    asn: routerAsn(index),
    localAddress: link(index).node4 as Address,
    ...change,
  })

export class TwoRouters extends RouterBed {
  readonly #t: Test

  constructor(t: Test) {
    super(t)
    this.#t = t
    t.teardown(() => rmSync(this.#frrDirectory, { recursive: true, force: true }))
  }

  /** Not below the bed's own, which is root's alone: FRR's daemons give up root. */
  readonly #frrDirectory = mkdtempSync('/tmp/weir-speaker-frr-')

  /** @param lines of `router bgp`, beside what every test needs */
  async addFrr(lines: readonly string[] = [], families: readonly string[] = []): Promise<string> {
    const tor = this.addLink(FRR)
    const owner = frrOwner()
    chownSync(this.#frrDirectory, owner.uid, owner.gid)
    const write = (name: string, text: string) => {
      const file = join(this.#frrDirectory, name)
      writeFileSync(file, text)
      chownSync(file, owner.uid, owner.gid)
    }
    write('vtysh.conf', 'no service integrated-vtysh-config\n')
    write('zebra.conf', 'frr defaults traditional\nno zebra nexthop kernel enable\n')
    write('bgpd.conf', frrConfig(lines, families))
    for (const daemon of ['zebra', 'bgpd'] as const) {
      this.spawn(tor, frrCommand(daemon, this.#frrDirectory), `${daemon}.log`)
      await until(`${daemon} is up`, () => isFrrReady(daemon, this.#frrDirectory))
    }
    return tor
  }

  frr(...commands: string[]): string {
    const directory = this.#frrDirectory
    const args = commands.flatMap((command) => ['-c', command])
    return execFileSync('vtysh', ['--vty_socket', directory, '--config_dir', directory, ...args], {
      encoding: 'utf8',
    })
  }

  /** What FRR was told of a prefix; undefined: nothing. */
  frrPath(prefix: string): FrrPath | undefined {
    const family = prefix.includes(':') ? 'ipv6' : 'ipv4'
    const answer = JSON.parse(this.frr(`show bgp ${family} unicast ${prefix} json`)) as { paths?: FrrPath[] }
    return answer.paths?.[0]
  }

  speak(options: Partial<SpeakerOptions> = {}): Speaker {
    const speaker = createSpeaker({ gobgpSocket: this.target, log: quiet, ...options })
    this.#t.teardown(() => speaker.close())
    return speaker
  }
}

export interface FrrPath {
  readonly aspath?: { readonly string: string }
  readonly metric?: number
  readonly locPrf?: number
  readonly valid?: boolean
  readonly community?: { readonly string: string }
  readonly largeCommunity?: { readonly string: string }
  readonly nexthops?: readonly { readonly ip: string; readonly scope?: string }[]
}

function frrConfig(lines: readonly string[], families: readonly string[]): string {
  const { node4 } = link(FRR)
  const own = [
    'bgp router-id 10.255.250.2',
    'no bgp ebgp-requires-policy',
    'no bgp default ipv4-unicast',
    `neighbor ${node4} remote-as ${NODE_ASN}`,
    `neighbor ${node4} timers 3 9`,
    `neighbor ${node4} timers connect 2`,
    `neighbor ${node4} advertisement-interval 0`,
    'bgp graceful-restart',
    'bgp graceful-restart preserve-fw-state',
  ]
  const all = [
    `address-family ipv4 unicast`,
    ` neighbor ${node4} activate`,
    'exit-address-family',
    ...families,
  ]
  return [
    'frr defaults traditional',
    `router bgp ${routerAsn(FRR)}`,
    ...own,
    ...lines,
    ...all,
    'exit',
    '',
  ].join('\n')
}

/** Both routers, one IPv4 session each. */
export const bothRouters = (change: Partial<NodeRouting> = {}) => routingOf([peer(BIRD), peer(FRR)], change)

export async function untilUp(speaker: Speaker, count: number): Promise<void> {
  const up = async () =>
    (await speaker.status()).sessions.filter(({ session }) => session === 'established').length
  await until(`${count} sessions`, async () => (await up()) === count, 25_000)
}

export { allowed }
