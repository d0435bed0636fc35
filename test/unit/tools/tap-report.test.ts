// How a suite's assertions are counted, over TAP as tap writes it.

import t from 'tap'
import { type FileOutcome, followTap } from '../../../tools/tap-report.mjs'

function read(text: string) {
  const files: FileOutcome[] = []
  const followed = followTap((file) => files.push(file))
  followed.parser.end(`TAP version 14\n${text}`)
  return { ...followed, files }
}

const NESTED = `# Subtest: a.test.ts
    # Subtest: outer
        ok 1 - first
        # Subtest: inner
            ok 1 - second
            ok 2 - left out # SKIP no
            not ok 3 - later # TODO not yet
            1..3
        ok 2 - inner # time=4ms

        1..2
    ok 1 - outer # time=9ms

    # Subtest: without assertions
        1..0
    ok 2 - without assertions # time=1ms

    ok 3 - never # SKIP why
    ok 4 - some day # TODO
    1..4
ok 1 - a.test.ts # time=19.5ms

1..1
# { total: 7 }
`
const FAILED = `# Subtest: b.test.ts
    # Subtest: outer
        ok 1 - good
        not ok 2 - bad
          ---
          at:
            lineNumber: 3
          diff: |
            -1
            +2
          ...
        1..2
    not ok 1 - outer # time=9ms
      ---
      source: outer again
      ...
    1..1
not ok 1 - b.test.ts # time=19ms
1..1
`
const CRASHED = `# Subtest: c.test.ts
    1..0 # no tests found
not ok 1 - c.test.ts # time=85ms
  ---
  command: node
  exitCode: 1
  ...
# Subtest: killed.test.ts
    ok 1 - good
    # test count(1) != plan(null)
not ok 2 - killed.test.ts # time=66ms
  ---
  signal: SIGKILL
  ...
# Subtest: hangs.test.ts
    1..0 # no tests found
not ok 3 - timeout!
  ---
  expired: hangs.test.ts
  ...
# Subtest: good.test.ts
    ok 1 - fine
    1..1
ok 4 - good.test.ts # time=1ms
1..4
`

t.test('nested subtests count by their leaves; skipped and todo points apart', async (t) => {
  const { counts, files, summary } = read(NESTED)
  t.same(counts, { passed: 3, failed: 0, skipped: 4 })
  t.match(files, [{ path: 'a.test.ts', ok: true, ms: 19.5, failures: [] }])
  t.same(summary, ['# { total: 7 }'])
})

t.test('a failure counts once, with its parents and what is worth reading', async (t) => {
  const { counts, files } = read(FAILED)
  t.same(counts, { passed: 1, failed: 1, skipped: 0 })
  t.same(files[0]?.failures, [{ name: 'b.test.ts > outer > bad', detail: ['diff:', '  -1', '  +2'] }])
})

t.test('a file that crashes, is killed or hangs fails, whatever it had said before', async (t) => {
  const { counts, files } = read(CRASHED)
  t.same(counts, { passed: 2, failed: 3, skipped: 0 })
  t.same(
    files.map(({ path, ok, failures }) => [path, ok, failures.map((failure) => failure.name)]),
    [
      ['c.test.ts', false, ['c.test.ts']],
      ['killed.test.ts', false, ['killed.test.ts']],
      ['hangs.test.ts', false, ['hangs.test.ts: timeout!']],
      ['good.test.ts', true, []],
    ],
  )
})

t.test('a file without tests is a mistake, not a pass', async (t) => {
  const { counts, files } = read(
    '# Subtest: none.test.ts\n    1..0 # no tests found\nok 1 - none.test.ts # SKIP no tests found\n1..1\n',
  )
  t.same(counts, { passed: 0, failed: 1, skipped: 0 })
  t.equal(files[0]?.ok, false)
})

t.test('a bailout is a failure', async (t) => {
  const { counts, summary } = read(
    '# Subtest: x.test.ts\n    ok 1 - fine\n    Bail out! done for\nBail out! done for\n',
  )
  t.ok(counts.failed >= 1)
  t.match(summary.join('\n'), 'Bail out! done for')
})
