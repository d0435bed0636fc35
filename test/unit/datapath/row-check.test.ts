// Rows that somebody changed in the kernel are written again, a few at a time.

import t from 'tap'
import { RowCheck, rowChecks } from '../../../src/datapath/row-check.ts'

t.test('OPS-008 rows that differ are mended in rotation, and only those', async (t) => {
  const wanted = new Map([1, 2, 3, 4, 5].map((key) => [key, { value: key, mac: new Uint8Array(6) }]))
  const kernel = new Map(
    [...wanted].map(([key, row]) => [key, { ...row, mac: Buffer.alloc(6) as Uint8Array }]),
  )
  const writes: number[] = []
  const table = {
    get: (key: number) => kernel.get(key),
    set: (key: number, row: { value: number; mac: Uint8Array }) => {
      writes.push(key)
      kernel.set(key, row)
    },
  }
  const check = new RowCheck(() => rowChecks('rows', table, wanted))
  const pass = () => [...check.next(2), ...check.next(2), ...check.next(2)]
  t.strictSame(pass(), [], 'bytes are bytes, however they are held')
  kernel.delete(2)
  kernel.set(5, { value: 7, mac: new Uint8Array(6) })
  const loss = { what: 'a row of map rows', how: 'overwritten' } as const
  t.strictSame(pass(), [loss, loss])
  t.strictSame(writes, [2, 5])
  wanted.delete(3)
  wanted.set(6, { value: 6, mac: new Uint8Array(6) })
  t.strictSame(pass(), [loss], 'what is wanted now counts')
  t.strictSame(pass(), [])
})
