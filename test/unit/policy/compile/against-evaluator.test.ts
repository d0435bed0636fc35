// The compiled rows against the evaluator: from nothing, and after any sequence of changes.

import t from 'tap'
import type { PolicyWorld } from '../../../../src/model/policy.ts'
import { atOnce } from '../../../../src/model/slices.ts'
import { PolicyCompiler } from '../../../../src/policy/compile/compiler.ts'
import { type Decision, PolicyTables } from '../../../../src/policy/compile/decide.ts'
import { policyId, type WorldChange, wholeWorld } from '../../../../src/policy/compile/objects.ts'
import { FIRST_RULE, type PolicyChange, RULE_OWN_NODE } from '../../../../src/policy/compile/rows.ts'
import { judge } from '../../../../src/policy/evaluate.ts'
import { aimProbes, type Probe } from '../../../policy/arbitrary/probes.ts'
import { OWN_NODE, randomWorlds } from '../../../policy/arbitrary/worlds.ts'
import { changedWorld, changesBetween, merged } from '../../../policy/changing-world.ts'
import {
  compiled,
  compilerOptions,
  judgementOf,
  ownAddresses,
  unjudgedCause,
} from '../../../policy/compiled.ts'
import { agree, checkAgainstOracle } from '../../../policy/oracle.ts'
import { Random } from '../../../policy/random.ts'

t.test('rows compiled from nothing decide as the evaluator does', async (t) => {
  const { cases, sets } = checkAgainstOracle(compiled, { sets: 2000, packetsPerSet: 50, seed: 21 })
  t.ok(cases >= 100_000, `${cases} packets of ${sets} worlds`)
})

const PROBES = 25

/** A compiler and its tables, fed with one change after another. */
class Fed {
  readonly compiler: PolicyCompiler
  world: PolicyWorld
  #now = 0

  readonly tables: PolicyTables

  /** @param before an agent whose tables it takes over */
  constructor(world: PolicyWorld, before?: Fed, between?: () => void) {
    this.world = world
    this.tables = before?.tables ?? new PolicyTables()
    const earlier = before && { earlier: this.tables.asEarlier(before.#lastRule()) }
    this.compiler = new PolicyCompiler(compilerOptions(world, earlier))
    this.apply(wholeWorld(world), between)
  }

  #lastRule(): number {
    let rule = FIRST_RULE
    while (this.compiler.nameOf(rule)) rule += 1
    return rule
  }

  /** @param between called after each write */
  apply(change: WorldChange, between: () => void = () => {}): void {
    this.#now += 1
    const apply = (writes: PolicyChange) => {
      for (const write of writes) {
        this.tables.apply(write)
        between()
      }
    }
    // As the agent does: some of it is written before the rest is compiled.
    const rest = atOnce(
      this.compiler.steps(change, this.#now, function* (writes) {
        apply(writes)
        yield
      }),
    )
    this.world = changedWorld(this.world, change)
    apply(rest)
  }

  decide({ packet, direction }: Probe): Decision | undefined {
    return this.tables.decide(packet, direction, ownAddresses(this.world))
  }
}

/** The first of which they are of two minds, in words. */
function difference(fed: Fed, probes: readonly Probe[]): string | undefined {
  for (const probe of probes) {
    const expected = judge(fed.world, probe.packet, probe.direction)
    const cause = unjudgedCause(probe.packet, fed.world)
    const got = judgementOf(fed.decide(probe), fed.compiler, cause)
    if (!agree(expected, got)) return JSON.stringify({ probe, expected, got })
  }
  return undefined
}

/** Worlds in twos, the second with the first one's settings of the node. */
function worldPairs(seed: number, count: number): readonly { from: PolicyWorld; to: PolicyWorld }[] {
  const worlds = randomWorlds(seed, count * 2)
  return Array.from({ length: count }, (_item, index) => {
    const [from, other] = worlds.slice(index * 2, index * 2 + 2)
    if (!from || !other) throw new RangeError('a pair has two')
    // What is configured does not change while an agent lives.
    const { failSafePorts: _ports, ...to } = other
    return { from, to: from.failSafePorts ? { ...to, failSafePorts: from.failSafePorts } : to }
  })
}

t.test('rows after any changes are those compiled from nothing', async (t) => {
  for (const [index, { from, to }] of worldPairs(31, 60).entries()) {
    const random = new Random(index)
    const fed = new Fed(from)
    const changes = [...changesBetween(from, to, random)]
    while (changes.length > 0) {
      fed.apply(merged(changes.splice(0, 1 + random.below(3))))
      const probes = aimProbes(fed.world, random, PROBES)
      const found = difference(fed, probes)
      if (found) throw new Error(`pair ${index} of seed 31: ${found}`)
    }
    const fresh = new Fed(fed.world)
    // Of several policies that isolate, the first made is the cause: where that is another, so are the classes.
    const { classes: _classes, ...sizes } = fresh.tables.sizes()
    t.match(fed.tables.sizes(), sizes, `pair ${index}: nothing is left over`)
    const { classes: _counted, ...size } = fresh.compiler.size()
    t.match(fed.compiler.size(), size, `pair ${index}: nor in the compiler`)
    fed.apply({
      policies: new Map(fed.world.policies.map((policy) => [policyId(policy), undefined])),
      pods: new Map(fed.world.pods.map(({ key }) => [key, undefined])),
      nodes: new Map(fed.world.nodes.map(({ name }) => [name, undefined])),
      apiServers: [],
    })
    t.same(
      fed.tables.sizes(),
      { classes: 0, cells: 0, peers: 0, sets: 0, identities: 2, subjects: 0 },
      `pair ${index}: of nothing nothing is left but the world`,
    )
  }
})

t.test('an agent that follows another opens no window on the way', async (t) => {
  let decisions = 0
  for (const [index, { from, to }] of worldPairs(51, 60).entries()) {
    const random = new Random(index)
    const before = new Fed(from)
    // Half of them come back to the world they left, half to other policies.
    const world = index % 2 === 0 ? from : { ...from, policies: to.policies }
    const probes = [...aimProbes(from, random, PROBES), ...aimProbes(world, random, PROBES)]
    const earlier = probes.map((probe) => before.decide(probe)?.isAllowed)
    const seen = probes.map(() => new Set<boolean | undefined>())
    const look = () => {
      for (const [probe, asked] of probes.entries()) seen[probe]?.add(before.decide(asked)?.isAllowed)
    }
    const after = new Fed(world, before, look)
    after.tables.settle()
    t.same(after.tables.sizes(), new Fed(world).tables.sizes(), `pair ${index}: nothing is left over`)
    const found = difference(after, probes)
    if (found) throw new Error(`pair ${index} of seed 51: ${found}`)
    for (const [probe, asked] of probes.entries()) {
      const ends = [earlier[probe], after.decide(asked)?.isAllowed]
      decisions += seen[probe]?.size ?? 0
      for (const isAllowed of seen[probe] ?? []) {
        // Where policy tells apart now what shared a number, a packet may be dropped on the way; none ever gets through.
        // Who is judged no more is free.
        if (isAllowed === undefined || (isAllowed === false && world !== from) || ends.includes(undefined))
          continue
        if (!ends.includes(isAllowed))
          throw new Error(`pair ${index} of seed 51: ${JSON.stringify({ asked, ends, isAllowed })}`)
      }
    }
  }
  t.ok(decisions > 1000)
})

/** Whether a change is of what policies say. */
const isSaid = ({ policies, networkGroups }: WorldChange) => (policies ?? networkGroups) !== undefined

/** What the agent hands over as one: runs of what is said, or of who is elsewhere; one who may be judged; and at times anything. */
function inRuns(from: PolicyWorld, to: PolicyWorld, random: Random): readonly WorldChange[] {
  const own = new Set(
    [...from.pods, ...to.pods].filter(({ node }) => node === OWN_NODE).map(({ key }) => key),
  )
  const isHere = ({ pods, nodes, namespaces }: WorldChange) =>
    namespaces || nodes?.has(OWN_NODE) || [...(pods?.keys() ?? [])].some((key) => own.has(key))
  const changes = changesBetween(from, to, random)
  const here = changes.filter(isHere)
  const said = changes.filter(isSaid)
  const elsewhere = changes.filter((change) => !isSaid(change) && !isHere(change))
  const runs: WorldChange[] = []
  while (here.length + said.length + elsewhere.length > 0) {
    const [some, others] = random.shuffled([here, said, elsewhere])
    const run = some?.splice(0, some === here ? 1 : 1 + random.below(3)) ?? []
    // As of a flood.
    const more = some === said && others ? others.splice(0, random.below(2)) : []
    if (run.length > 0) runs.push(merged([...run, ...more]))
  }
  return runs
}

t.test(
  'while a change is written, each packet is judged as before, as after, or in between by what policies say already, and no verdict outlives it',
  async (t) => {
    let inBetween = 0
    for (const [index, { from, to }] of worldPairs(41, 60).entries()) {
      const random = new Random(index)
      const fed = new Fed(from)
      for (const change of inRuns(from, to, random)) {
        const { policies, networkGroups, ...who } = change
        const isBoth = isSaid(change) && Object.keys(who).length > 0
        const said = { ...(policies && { policies }), ...(networkGroups && { networkGroups }) }
        const middle = isBoth ? changedWorld(fed.world, said) : undefined
        const probes = [
          ...aimProbes(fed.world, random, PROBES),
          ...aimProbes(changedWorld(fed.world, change), random, PROBES),
        ]
        const before = probes.map((probe) => fed.decide(probe))
        const seen: { readonly probe: number; readonly decision: Decision }[] = []
        const look = () => {
          for (const [probe, asked] of probes.entries()) {
            const decision = fed.decide(asked)
            if (decision) seen.push({ probe, decision })
          }
        }
        const isOfMiddle = ({ packet, direction }: Probe, decision: Decision) =>
          middle !== undefined &&
          agree(
            judge(middle, packet, direction),
            judgementOf(decision, fed.compiler, unjudgedCause(packet, middle)),
          )
        look()
        fed.apply(change, look)
        const after = probes.map((probe) => fed.decide(probe))
        for (const { probe, decision } of seen) {
          const ends = [before[probe], after[probe]]
          const isOfAnEnd = ends.some(
            (end) => end && end.isAllowed === decision.isAllowed && end.rule === decision.rule,
          )
          const asked = probes[probe]
          // A pod comes here or goes: the node itself reaches it as long as its address is a subject's, which is written last.
          const isOfNode = ends.some((end) => end?.rule === RULE_OWN_NODE)
          if (!isOfAnEnd && !isOfNode && ends.every((end) => end !== undefined)) {
            if (!asked || !isOfMiddle(asked, decision))
              throw new Error(
                `pair ${index} of seed 41: ${JSON.stringify({ change: [...Object.values(change)], asked, ends, decision })}`,
              )
            inBetween += 1
          }
          const end = after[probe]
          if (end && end.epoch === decision.epoch && end.isAllowed !== decision.isAllowed)
            throw new Error(
              `pair ${index} of seed 41: a verdict outlives the change: ${JSON.stringify({ asked, end, decision })}`,
            )
        }
      }
    }
    t.ok(inBetween > 0, `${inBetween} in between`)
  },
)
