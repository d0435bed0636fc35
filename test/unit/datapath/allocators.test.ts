// Numbers and ranges: nothing is handed out twice, and nothing freed is used again before its rest is over.

import fc from 'fast-check'
import t from 'tap'
import { ExtentAllocator } from '../../../src/datapath/extents.ts'
import { IdPool } from '../../../src/datapath/id-pool.ts'

t.test('ids rest before they are used again', async (t) => {
  const pool = new IdPool(1, 4, 1000)
  t.strictSame([pool.take(), pool.take(), pool.take(), pool.take()], [1, 2, 3, undefined])
  pool.release(2, 0)
  t.equal(pool.take(), undefined, 'resting')
  t.equal(pool.nextWakeMs(), 1000)
  t.strictSame(pool.wake(999), [])
  t.strictSame(pool.wake(1000), [2])
  t.equal(pool.take(), 2)
  t.throws(() => pool.release(7, 0), /not in use/)
})

t.test('an id found in the kernel, or one that rests, can be claimed', async (t) => {
  const pool = new IdPool(1, 10, 1000)
  pool.claim(1)
  pool.claim(3)
  t.strictSame([pool.take(), pool.take()], [2, 4])
  pool.release(3, 0)
  pool.claim(3)
  t.strictSame(pool.wake(5000), [])
  t.throws(() => pool.claim(10), /outside/)
})

t.test('extents: claim, merge, and no overlap whatever the order', async (t) => {
  const extents = new ExtentAllocator(1000, 100)
  t.ok(extents.claim({ base: 100, size: 50 }))
  t.notOk(extents.claim({ base: 149, size: 10 }), 'overlaps')
  const first = extents.allocate(120)
  t.strictSame(first, { base: 150, size: 120 }, 'the gap before is too small')
  extents.release({ base: 100, size: 50 }, 0)
  extents.wake(99)
  t.equal(extents.allocate(101)?.base, 270, 'still resting')
  extents.wake(100)
  t.strictSame(extents.allocate(150), { base: 0, size: 150 }, 'merged with the gap before it')
  t.equal(extents.allocate(10_000), undefined)
})

t.test('random use never hands out overlapping extents', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ size: fc.integer({ min: 1, max: 64 }), free: fc.boolean() }), { maxLength: 60 }),
      (steps) => {
        const extents = new ExtentAllocator(512, 0)
        const live: { base: number; size: number }[] = []
        for (const step of steps) {
          if (step.free && live.length > 0) {
            extents.release(live.shift() as { base: number; size: number }, 0)
            extents.wake(0)
          } else {
            const got = extents.allocate(step.size)
            if (!got) continue
            if (live.some((other) => got.base < other.base + other.size && other.base < got.base + got.size))
              return false
            live.push(got)
          }
        }
        return extents.used === live.reduce((sum, extent) => sum + extent.size, 0)
      },
    ),
  )
  t.pass('no overlap')
})
