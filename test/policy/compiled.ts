// The compiler as one who decides about packets: its rows, looked up as the kernel does, and its numbers of rules as causes.

import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../../src/model/policy.ts'
import type { PolicyCause, PolicyJudgement, PolicyVerdict } from '../../src/model/policy-judgement.ts'
import { COMPILER_LIMITS, type CompilerOptions, PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { type Decision, PolicyTables } from '../../src/policy/compile/decide.ts'
import { wholeWorld } from '../../src/policy/compile/objects.ts'
import type { RuleId } from '../../src/policy/compile/rows.ts'
import { partyAt } from '../../src/policy/parties.ts'
import { OWN_NODE } from './arbitrary/worlds.ts'
import type { Decide } from './oracle.ts'

/** Nothing rests, so that what a world leaves behind in the next one is met at once; and no rows wait for others. */
export function compilerOptions(world: PolicyWorld, more: Partial<CompilerOptions> = {}): CompilerOptions {
  return {
    node: OWN_NODE,
    existingConnections: 'recheck',
    labels: { include: [], exclude: [] },
    failSafe: world.failSafePorts ?? { ingress: [], egress: [] },
    limits: { ...COMPILER_LIMITS, restMs: 0, idleReferenceMs: 0, rowsAtOnce: 1 },
    ...more,
  }
}

export function ownAddresses(world: PolicyWorld): ReadonlySet<string> {
  return new Set(world.nodes.find(({ name }) => name === OWN_NODE)?.addresses)
}

function causeOf(rule: RuleId, compiler: PolicyCompiler): PolicyCause {
  const name = compiler.nameOf(rule)
  if (name === undefined) throw new Error(`rule ${rule} has no name`)
  if (typeof name === 'string') {
    if (name === 'none' || name === 'no-room' || name === 'unknown' || name === 'untranslated')
      throw new Error(`the cause is '${name}'`)
    return { kind: name }
  }
  const policy = { kind: name.kind, key: name.key, part: name.part }
  return name.index < 0
    ? { kind: 'isolation', policies: [policy] }
    : { kind: 'rule', policy, path: name.path }
}

/**
 * A decision in the evaluator's words.
 * @param decision undefined: nobody is judged, so all is allowed
 * @param unjudged why
 */
export function judgementOf(
  decision: Decision | undefined,
  compiler: PolicyCompiler,
  unjudged: 'default' | 'self' | 'own-node',
): PolicyJudgement {
  if (!decision) return { verdict: 'allow', cause: { kind: unjudged }, wouldBe: undefined }
  const { isAllowed, rule, wouldBeRule } = decision
  const verdictOf = (allowed: boolean): PolicyVerdict => (allowed ? 'allow' : 'deny')
  return {
    verdict: verdictOf(isAllowed),
    cause: causeOf(rule, compiler),
    wouldBe:
      wouldBeRule === 0
        ? undefined
        : { verdict: verdictOf(!isAllowed), cause: causeOf(wouldBeRule, compiler) },
  }
}

/** A node that no policy selects is not asked whether it speaks to itself, or to a pod of its own. */
export function unjudgedCause({ source, destination, isMasqueraded }: PolicyPacket, world: PolicyWorld) {
  const own = ownAddresses(world)
  if (isMasqueraded || !own.has(source)) return 'default'
  if (own.has(destination)) return 'self'
  const party = partyAt(world, destination, OWN_NODE)
  return party.kind === 'pod' && party.pod.node === OWN_NODE ? 'own-node' : 'default'
}

/** A world compiled from nothing. */
export const compiled: Decide = (world) => {
  const compiler = new PolicyCompiler(compilerOptions(world))
  const tables = new PolicyTables()
  for (const write of compiler.apply(wholeWorld(world), 0)) tables.apply(write)
  const own = ownAddresses(world)
  return (packet: PolicyPacket, direction: PolicyDirection) =>
    judgementOf(tables.decide(packet, direction, own), compiler, unjudgedCause(packet, world))
}
