// A cluster with more policies and blocks of addresses than most, in tables of the agents' own size.

import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { type Address, address } from '../../src/model/address.ts'
import type { Policy } from '../../src/model/policy.ts'
import { PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { policyId, type WorldChange } from '../../src/policy/compile/objects.ts'
import { compilerOptions } from '../policy/compiled.ts'
import { labels, networkPolicy, networks, pod, ports, world } from '../unit/policy/rows.ts'
import { PolicyJudge } from './policy-judge.ts'

const TCP = 6
/** Longer than any number rests. */
const LATER_MS = 3_600_000
const PORTS = 50

export interface ManySize {
  readonly policies: number
  readonly blocksEach: number
  readonly pods: number
}

export type ManyCluster = ReturnType<typeof clusterOf>

export function clusterOf({ policies, blocksEach, pods }: ManySize) {
  const judge = new PolicyJudge()
  let now = 0
  const maps = new PolicyMaps(judge.tables, () => now)
  const compiler = new PolicyCompiler(compilerOptions(world()))
  const podAddress = (index: number) => address(`10.0.${index >> 8}.${index & 255}`)
  /** A /24 without its upper half; no two are alike. */
  const blockOf = (policy: number, block: number) => {
    const number = policy * blocksEach + block
    return `${100 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`
  }
  const portOf = (policy: number, round: number) => 1000 + ((policy + round) % PORTS)
  const policyOf = (index: number, round: number): Policy =>
    networkPolicy(`shop/p${index}`, labels({ app: `app-${index % pods}` }), {
      ingress: [
        {
          peers: Array.from({ length: blocksEach }, (_, block) => {
            const network = blockOf(index, block)
            return networks(`${network}.0/24`, [`${network}.128/25`])
          }),
          ports: [ports('tcp', portOf(index, round))],
        },
      ],
    })

  /** One change, and upkeep until all that rested has come back. */
  function apply(change: WorldChange): void {
    maps.apply(compiler.apply(change, now))
    for (let round = 0; round < 2; round += 1) {
      now += LATER_MS
      maps.retire(() => false)
      maps.apply(compiler.apply({}, now))
    }
  }

  const every = <Row>(rowOf: (index: number) => readonly [string, Row]) =>
    new Map(Array.from({ length: policies }, (_, index) => rowOf(index)))

  return {
    putPods: () =>
      apply({
        pods: new Map(
          Array.from({ length: pods }, (_, index) => {
            const key = `shop/pod-${index}`
            const addresses = [podAddress(index)]
            return [key, pod(key, { labels: { app: `app-${index}` }, addresses })] as const
          }),
        ),
      }),
    putPolicies: (round: number) =>
      apply({
        policies: every((index) => {
          const policy = policyOf(index, round)
          return [policyId(policy), policy]
        }),
      }),
    dropPolicies: () => apply({ policies: every((index) => [policyId(policyOf(index, 0)), undefined]) }),
    shortage: () => maps.shortage,
    fills() {
      const { identities, prefixes, subjects, peers, classes } = judge.tables
      const count = (table: { entries(): Iterable<unknown> }) => [...table.entries()].length
      return {
        identities: count(identities),
        prefixes: count(prefixes),
        subjects: count(subjects),
        peers: count(peers),
        classes: count(classes),
        ports: maps.portsUsed,
        compiled: compiler.size(),
      }
    },
    /** Of each policy: its first block at its port, at another's, and what its block leaves out. */
    wrongVerdicts(round: number): string[] {
      const questions = Array.from({ length: policies }, (_, index) => {
        const subject = podAddress(index % pods)
        const network = blockOf(index, 0)
        const at = (host: number, port: number, isAllowed: boolean) => ({
          question: {
            ...{ direction: 'ingress' as const, subject, protocol: TCP, port },
            peer: `${network}.${host}` as Address,
          },
          isAllowed,
        })
        const port = portOf(index, round)
        return [at(1, port, true), at(200, port, false), at(1, port - 1, false)]
      }).flat()
      const answers = judge.ask(questions.map(({ question }) => question))
      return questions.flatMap(({ question, isAllowed }, index) =>
        answers[index]?.isAllowed === isAllowed ? [] : [JSON.stringify({ question, isAllowed })],
      )
    },
    close: () => judge.close(),
  }
}
