// Tables: indexes follow their rows, readers learn each changed key once.

import t from 'tap'
import { Table } from '../../../src/tables/table.ts'

interface Slice {
  readonly service: string
  readonly size: number
}

const makeTable = () =>
  new Table<Slice>({
    name: 'slices',
    indexes: { service: (row) => [row.service] },
    equals: (a, b) => a.service === b.service && a.size === b.size,
  })

t.test('indexes follow rows that change and go', async (t) => {
  const table = makeTable()
  table.set('a', { service: 'web', size: 1 })
  table.set('b', { service: 'web', size: 2 })
  t.equal(table.find('service', 'web').length, 2)
  table.set('a', { service: 'db', size: 1 })
  t.strictSame(table.find('service', 'web'), [{ service: 'web', size: 2 }])
  table.set('b', { service: 'web', size: 3 })
  t.strictSame(table.find('service', 'web'), [{ service: 'web', size: 3 }], 'as it is now')
  table.delete('b')
  t.strictSame(table.find('service', 'web'), [])
  t.throws(() => table.find('color', 'red'), /no index 'color'/)
})

t.test('a reader starts with what is there, then sees each changed key once', async (t) => {
  const table = makeTable()
  table.set('a', { service: 'web', size: 1 })
  const reader = table.reader()
  let calls = 0
  reader.onChange(() => {
    calls += 1
  })
  t.equal(calls, 1, 'told of what was there')
  t.strictSame([...reader.take()], ['a'])
  table.set('b', { service: 'web', size: 1 })
  table.set('b', { service: 'web', size: 2 })
  table.delete('a')
  t.equal(calls, 2, 'told once')
  t.strictSame([...reader.take()], ['b', 'a'])
  t.strictSame([...reader.take()], [])
  reader.close()
  table.delete('b')
  t.strictSame([...reader.take()], [], 'closed readers learn nothing')
})

t.test('an equal row is no change', async (t) => {
  const table = makeTable()
  t.ok(table.set('a', { service: 'web', size: 1 }))
  const revision = table.revision
  t.notOk(table.set('a', { service: 'web', size: 1 }))
  t.equal(table.revision, revision)
  t.notOk(table.delete('nothing'))
})
