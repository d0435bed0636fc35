// Label selectors: every operator, on a label that is there with a listed value, with another, and not at all.

import t from 'tap'
import { selectorMatches, serviceLabels, toSelector } from '../../../src/model/label-selector.ts'

t.test('operators', async (t) => {
  const rows = [
    ['In', true, false, false],
    ['NotIn', false, true, true],
    ['Exists', true, true, false],
    ['DoesNotExist', false, false, true],
  ] as const
  for (const [operator, ...expected] of rows) {
    const values = operator.endsWith('In') ? ['a', 'b'] : []
    const selector = { requirements: [{ key: 'tier', operator, values }] }
    const seen = [{ tier: 'b' }, { tier: 'c' }, {}].map((labels) => selectorMatches(selector, labels))
    t.same(seen, expected, operator)
  }
})

t.test('all requirements must hold; none hold always', async (t) => {
  t.ok(selectorMatches({ requirements: [] }, {}))
  const both = {
    requirements: [
      { key: 'tier', operator: 'In', values: ['a'] },
      { key: 'constructor', operator: 'Exists', values: [] },
    ],
  } as const
  t.notOk(selectorMatches(both, { tier: 'a' }), 'what every object inherits is no label')
  t.ok(selectorMatches(both, { tier: 'a', constructor: '' }))
})

t.test('selectors that mean the same are the same', async (t) => {
  t.strictSame(
    toSelector({ matchLabels: { b: '2', a: '1' } }),
    toSelector({ matchLabels: { a: '1', b: '2' } }),
  )
  t.strictSame(toSelector({}), { requirements: [] })
})

t.test("a Service is found by Cilium's names for its namespace and name", async (t) => {
  const selector = toSelector({ matchLabels: { 'io.kubernetes.service.namespace': 'shop' } })
  t.ok(selectorMatches(selector, serviceLabels('shop/web', {})))
  t.notOk(selectorMatches(selector, serviceLabels('other/web', {})))
})
