// Kubernetes' label selectors: read from an object's JSON, and whether labels satisfy one.

/** Kubernetes' LabelSelector, reduced to requirements; all must hold. Empty: everything. */
export interface LabelSelector {
  readonly requirements: readonly {
    readonly key: string
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
    readonly values: readonly string[]
  }[]
}

/** As the API and the configuration file write it. */
export interface SelectorSource {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined
  readonly matchExpressions?:
    | readonly {
        readonly key: string
        readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
        readonly values?: readonly string[] | undefined
      }[]
    | undefined
}

export function toSelector({ matchLabels = {}, matchExpressions = [] }: SelectorSource): LabelSelector {
  const equals = Object.entries(matchLabels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ key, operator: 'In' as const, values: [value] }))
  const others = matchExpressions.map(({ key, operator, values = [] }) => ({
    key,
    operator,
    values: [...new Set(values)].sort(),
  }))
  return { requirements: [...equals, ...others] }
}

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

/** What selectors of Services see beside labels: Cilium's names for namespace and name. */
export function serviceLabels(
  key: string,
  labels: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const [namespace = '', name = ''] = key.split('/')
  return {
    ...labels,
    'io.kubernetes.service.namespace': namespace,
    'io.kubernetes.service.name': name,
  }
}
