// Whether labels satisfy a selector, as Kubernetes reads them.

import type { LabelSelector } from './routing.ts'

export function selectorMatches(
  { requirements }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  return requirements.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined
    if (operator === 'Exists') return value !== undefined
    if (operator === 'DoesNotExist') return value === undefined
    // A label that is not there is in no list, so NotIn holds.
    const isListed = value !== undefined && values.includes(value)
    return operator === 'In' ? isListed : !isListed
  })
}
