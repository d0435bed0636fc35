// Equality by value, held against a comparison of text.

import fc from 'fast-check'
import t from 'tap'
import { equalRows } from '../../../src/tables/equal-rows.ts'

t.test('a field that does not count may differ, but only in the rows themselves', async (t) => {
  const row = { name: 'a', at: 1, list: [{ at: 1 }] }
  t.ok(equalRows(row, { ...row, at: 2 }, 'at'))
  t.ok(equalRows(row, { name: 'a', list: [{ at: 1 }] }, 'at'))
  t.ok(equalRows({ name: 'a', list: [{ at: 1 }] }, row, 'at'))
  t.notOk(equalRows(row, { ...row, name: 'b' }, 'at'))
  t.notOk(equalRows(row, { ...row, list: [{ at: 2 }] }, 'at'))
})

t.test('rows that differ anywhere differ', async (t) => {
  const row = { name: 'a', list: [1, { deep: 'x' }], none: undefined, nothing: null }
  t.ok(equalRows(row, structuredClone(row)))
  t.ok(equalRows({ a: 1 }, { a: 1, b: undefined }), 'absent and undefined are alike')
  t.ok(equalRows({ a: 1, b: undefined }, { a: 1 }))
  const others = [
    { ...row, name: 'b' },
    { ...row, list: [1] },
    { ...row, list: [1, { deep: 'y' }] },
    { ...row, list: { 0: 1, 1: { deep: 'x' } } },
    { ...row, more: 1 },
    { ...row, nothing: {} },
    { ...row, none: null },
    {},
    [],
    null,
    'a',
  ]
  for (const other of others) {
    t.notOk(equalRows(row, other), JSON.stringify(other))
    t.notOk(equalRows(other, row), JSON.stringify(other))
  }
})

t.test('it agrees with text for any JSON', async (t) => {
  // Few values, so that equal pairs come up; keys in one order, for text knows the difference.
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(0, 1, 'x', null, true),
      fc.array(tie('value'), { maxLength: 2 }),
      fc.record({ a: tie('value'), b: tie('value') }),
    ),
  }))
  fc.assert(
    fc.property(value, value, (a, b) => equalRows(a, b) === (JSON.stringify(a) === JSON.stringify(b))),
    { numRuns: 2000 },
  )
  t.pass('2000 pairs')
})
