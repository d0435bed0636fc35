// Where a rule is written, in one sentence.

import type { RuleLine } from '../agent/policy-lines.ts'

/** `line 16, '- from:', of kubectl get networkpolicies -n shop web -o yaml (spec.ingress[0])` */
export function lineText({ line, text, path, command, problem }: RuleLine): string {
  if (line === undefined) return `no line of ${command}: ${problem ?? 'not found'}`
  return `line ${line}, '${text}', of ${command} (${path})`
}

/** The same of several rules, each with its policy. */
export function lineSentences(lines: readonly RuleLine[]): readonly string[] {
  return lines.map((line) => `${line.kind} ${line.policy}: ${lineText(line)}`)
}
