// Where rules are written, in words: the lines of what kubectl prints.

import type { RuleLine } from '../agent/policy-lines.ts'

/** One text for each object: `line 8, '- from:' (spec.ingress[0]); line 9, … of kubectl get …`. */
export function lineTexts(lines: readonly RuleLine[]): readonly string[] {
  return [...Map.groupBy(lines, ({ command }) => command)].flatMap(([command, ofObject]) => {
    const found = ofObject.flatMap(({ line, text, path }) =>
      line === undefined ? [] : [`line ${line}, '${text}' (${path})`],
    )
    const problems = ofObject.flatMap(({ line, problem }) =>
      line === undefined ? [`no line of ${command}: ${problem ?? 'not found'}`] : [],
    )
    return [...(found.length > 0 ? [`${found.join('; ')}, of ${command}`] : []), ...new Set(problems)]
  })
}

/** The same of several rules, each with its policy. */
export function lineSentences(lines: readonly RuleLine[]): readonly string[] {
  return [...Map.groupBy(lines, ({ kind, policy }) => `${kind} ${policy}`)].flatMap(([name, ofObject]) =>
    lineTexts(ofObject).map((text) => `${name}: ${text}`),
  )
}
