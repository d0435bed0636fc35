// When namespaces within pods are looked for.

import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { InnerPods } from '../../../src/agent/inner-pods.ts'

const WATCHED_MS = 700

/** One pod, noted again whenever notes are read, until it has been watched long enough. @returns how often what was done */
async function watch(
  t: Test,
  readNote: (count: number) => bigint,
  innerAt: (look: number) => readonly bigint[],
) {
  const cgroup = t.testdir()
  const counts = { notes: 0, looks: 0, changes: 0 }
  const cgroups = [statSync(cgroup, { bigint: true }).ino]
  const pods = new InnerPods({
    takeNoted: () => {
      counts.notes += 1
      return [{ cookie: readNote(counts.notes), cgroups }]
    },
    lookInside: async () => {
      counts.looks += 1
      return { inner: new Set(innerAt(counts.looks)), closed: [], isLarge: false }
    },
    onChange: () => {
      counts.changes += 1
    },
    nowMs: () => performance.now(),
    onError: (error) => t.fail(String(error)),
  })
  pods.follow(new Map([['one', { cgroup, own: new Set([1n]) }]]))
  await sleep(WATCHED_MS)
  await pods.close()
  return counts
}

t.test('who is noted without end and may not be opened is looked at ever more seldom', async (t) => {
  const counts = await watch(
    t,
    () => 5n,
    () => [],
  )
  t.ok(counts.looks >= 2, 'at once, and again')
  t.ok(counts.looks <= 8, `${counts.looks} looks for ${counts.notes} notes`)
  t.equal(counts.changes, 1, 'it has been looked at')
})

t.test('what changes all the time is told now and then, and reading notes takes a small part', async (t) => {
  const readSlowly = (count: number) => {
    const endMs = performance.now() + 5
    while (performance.now() < endMs);
    return BigInt(count)
  }
  const counts = await watch(t, readSlowly, (look) => [1000n + BigInt(look)])
  t.ok(counts.changes >= 2 && counts.changes <= WATCHED_MS / 50 + 2, `${counts.changes} told`)
  t.ok(counts.notes >= 2 && counts.notes <= WATCHED_MS / 100 + 2, `${counts.notes} times read`)
})

t.test('a pod is looked at anew when its own namespace is another', async (t) => {
  const cgroup = t.testdir()
  const pods = new InnerPods({
    takeNoted: () => [],
    lookInside: async ({ own }) => ({
      inner: new Set([...own].map((one) => one * 10n)),
      closed: [],
      isLarge: false,
    }),
    onChange: () => {},
    nowMs: () => performance.now(),
    onError: (error) => t.fail(String(error)),
  })
  t.teardown(() => pods.close())
  const follow = (own: bigint) => pods.follow(new Map([['one', { cgroup, own: new Set([own]) }]]))
  follow(1n)
  t.equal(pods.of('one'), undefined)
  await sleep(30)
  t.strictSame(pods.of('one')?.inner, new Set([10n]))
  follow(2n)
  t.equal(pods.of('one'), undefined)
  await sleep(60)
  t.strictSame(pods.of('one')?.inner, new Set([20n]))
  pods.follow(new Map())
  t.equal(pods.of('one'), undefined, 'it has gone')
})
