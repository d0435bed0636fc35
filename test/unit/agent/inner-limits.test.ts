// What one look within a pod reads at most, and in which order namespaces are asked for each other.

import t from 'tap'
import { OthersAsked, Reading, TooMuchError } from '../../../src/agent/inner-limits.ts'

const LIMITS = { links: 4, linksOfPod: 6, asks: 24 }

t.test('links of one namespace, and of all', async (t) => {
  const reading = new Reading(LIMITS)
  const read = (count: number) => {
    const onLink = reading.linksOfOne()
    for (let link = 0; link < count; link += 1) onLink()
  }
  t.throws(() => read(5), { name: 'TooMuchError', message: /more than 4 devices/ })
  t.doesNotThrow(() => read(1), 'others are read')
  t.throws(() => read(1), { message: /more than 6 devices together/ })
  t.throws(() => reading.linksOfOne(), TooMuchError, 'at once')
})

t.test('a look is large by what it read', async (t) => {
  const reading = new Reading()
  const onLink = reading.linksOfOne()
  for (let link = 0; link < 200; link += 1) onLink()
  reading.ask(400)
  for (let process = 0; process < 100; process += 1) reading.process()
  t.notOk(reading.isLarge)
  for (let namespace = 0; namespace < 12; namespace += 1) reading.namespace()
  t.ok(reading.isLarge)
})

const cookiesTo = (end: number) => Array.from({ length: end }, (_, index) => BigInt(index + 1))
/** A namespace's ids of others, which are their cookies here, as the kernel tells them. */
const answers = (asked: bigint[]) => async (cookies: readonly bigint[]) => {
  asked.push(...cookies)
  return cookies.map(Number)
}

t.test('the pod’s own is asked first, and then who was led to', async (t) => {
  const asked: bigint[] = []
  const others = new OthersAsked(cookiesTo(40), new Set([30n]), new Reading())
  t.strictSame(await others.find(new Set([30]), answers(asked)), new Set([30n]))
  t.equal(asked.length, 8)
  t.strictSame(await others.find(new Set([40]), answers(asked)), new Set([40n]))
  t.equal(asked.length, 48, 'all had to be')
  asked.length = 0
  t.strictSame(await others.find(new Set([40, 30]), answers(asked)), new Set([30n, 40n]))
  t.strictSame(asked.slice(0, 2), [30n, 40n])
  t.equal(asked.length, 8)
  t.strictSame(await others.find(new Set(), answers(asked)), new Set())
  t.equal(asked.length, 8, 'nobody, for nothing')
})

t.test('one that leads elsewhere, and too many that lead to each other', async (t) => {
  const others = new OthersAsked(cookiesTo(12), new Set([1n]), new Reading(LIMITS))
  const nobody = async (cookies: readonly bigint[]) => cookies.map(() => undefined)
  t.equal(await others.find(new Set([99]), nobody), undefined)
  t.equal(await others.find(new Set([99]), nobody), undefined)
  await t.rejects(others.find(new Set([1]), answers([])), { name: 'TooMuchError' })
})
