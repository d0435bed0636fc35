// A world that was compiled to rows, to be asked why a connection is allowed, as node n1 answers.

import { type ExplainParts, explainPolicy } from '../../../src/agent/policy-explain.ts'
import type { PolicyServices } from '../../../src/agent/policy-services.ts'
import type { PolicyWorld } from '../../../src/model/policy.ts'
import { PolicyCompiler } from '../../../src/policy/compile/compiler.ts'
import { wholeWorld } from '../../../src/policy/compile/objects.ts'
import { compilerOptions } from '../../policy/compiled.ts'
import { readsOf } from './policy-reads.ts'

export const NO_SERVICES: PolicyServices = { at: () => undefined, nodes: [], addressOf: () => undefined }
export const NO_LINES: ExplainParts['lines'] = { of: async () => [] }

export function explainParts(
  world: PolicyWorld,
  { services = NO_SERVICES, lines = NO_LINES }: Partial<Pick<ExplainParts, 'services' | 'lines'>> = {},
): ExplainParts {
  const compiler = new PolicyCompiler(compilerOptions(world, { node: 'n1' }))
  const rows = readsOf(compiler.apply(wholeWorld(world), 0))
  return { node: 'n1', world, rows, nameOf: (rule) => compiler.nameOf(rule), lines, services }
}

export function explain([from, to, port]: readonly [string, string, string], parts: ExplainParts) {
  return explainPolicy(new URLSearchParams({ from, to, port }), parts)
}
