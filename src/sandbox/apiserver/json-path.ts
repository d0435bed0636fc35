// The part of JSONPath that CustomResourceDefinitions use in printer columns: fields, quoted fields, indexes, wildcards and the filter
// [?(@.field=="value")].

import { isRecord, valueAt } from './json.ts'

type Step = (values: readonly unknown[]) => unknown[]

const field =
  (name: string): Step =>
  (values) =>
    values.flatMap((value) => (isRecord(value) && Object.hasOwn(value, name) ? [value[name]] : []))

const wildcard: Step = (values) =>
  values.flatMap((value) => (Array.isArray(value) ? value : isRecord(value) ? Object.values(value) : []))

const index =
  (position: number): Step =>
  (values) =>
    values.flatMap((value) =>
      Array.isArray(value) && value.at(position) !== undefined ? [value.at(position)] : [],
    )

const filter = (expression: string): Step | undefined => {
  const match = /^\?\(\s*@\.([\w.-]+)\s*(?:(==|!=)\s*(?:"([^"]*)"|'([^']*)'|(-?[\w.]+)))?\s*\)$/.exec(
    expression,
  )
  if (!match) return undefined
  const [, path = '', operator, double, single, bare] = match
  const expected = double ?? single ?? bare
  return (values) =>
    wildcard(values).filter((item) => {
      const value = valueAt(item, ...path.split('.'))
      if (operator === undefined) return value !== undefined
      return (value !== undefined && String(value) === expected) === (operator === '==')
    })
}

const bracketStep = (inside: string): Step | undefined => {
  if (inside === '*') return wildcard
  if (/^-?\d+$/.test(inside)) return index(Number(inside))
  const quoted = /^(['"])(.*)\1$/.exec(inside)
  return quoted ? field(quoted[2] ?? '') : filter(inside)
}

const token = /\.((?:[^.[\]\\]|\\.)+)|\[((?:'[^']*'|"[^"]*"|[^\]'"])+)\]/y

/** A function from a value to all matches, or undefined if the path is not in this subset. */
export const compileJsonPath = (path: string): ((value: unknown) => unknown[]) | undefined => {
  const text = path.startsWith('.') || path.startsWith('[') ? path : `.${path}`
  const steps: Step[] = []
  token.lastIndex = 0
  while (token.lastIndex < text.length) {
    const match = token.exec(text)
    if (!match) return undefined
    const [, name, inside] = match
    const step =
      name === undefined
        ? bracketStep(inside ?? '')
        : name === '*'
          ? wildcard
          : field(name.replaceAll('\\.', '.'))
    if (!step) return undefined
    steps.push(step)
  }
  return (value) => steps.reduce<unknown[]>((values, step) => step(values), [value])
}
