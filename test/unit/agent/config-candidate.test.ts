// A configuration on trial: confirmed, rolled back by hand or by itself, across restarts of the agent.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { ConfigCandidate } from '../../../src/agent/config-candidate.ts'

const fileText = (asn: number) => `
nodeName: node1
stateDirectory: /run/weir
kubernetes: { servers: ["https://127.0.0.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [to-tor1] }
routing: { gobgp: "unix:///g.sock", asn: ${asn} }
pools: [ { name: default, prefixes: [203.0.113.0/24] } ]
`

function bed(t: { teardown: (run: () => void) => void }) {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'weir-candidate-'))
  t.teardown(() => rmSync(stateDirectory, { recursive: true, force: true }))
  const state = { text: fileText(65_101), nowMs: 1_000_000, bootMs: 50_000, bootId: 'this-boot' }
  const said: string[] = []
  const opened: ConfigCandidate[] = []
  t.teardown(() => {
    for (const one of opened) one.close()
  })
  const open = () => {
    const one = new ConfigCandidate({
      stateDirectory,
      file: () => ({ config: parseConfig(state.text, 'agent.yaml'), text: state.text }),
      onChange: (config, why) => said.push(`${config.routing.asn} ${why}`),
      nowMs: () => state.nowMs,
      clock: { bootId: () => state.bootId, nowMs: () => state.bootMs },
    })
    opened.push(one)
    return one
  }
  const pass = (ms: number) => {
    state.nowMs += ms
    state.bootMs += ms
  }
  return { state, said, open, pass, stateFile: join(stateDirectory, 'routing-candidate.json') }
}

const routing = (asn: number) => `routing: { asn: ${asn} }`

t.test('applied, in force at once, and gone when nobody confirms', async (t) => {
  const { said, open, stateFile } = bed(t)
  const store = open()
  store.apply(routing(65_102), 40)
  t.match(store.config.routing, { asn: 65_102, gobgp: 'unix:///g.sock' })
  t.match(store.config.pools, [{ name: 'default' }], 'a section that is not given stays')
  t.equal(statSync(stateFile).mode & 0o777, 0o600)
  await new Promise((resolve) => setTimeout(resolve, 120))
  t.equal(store.config.routing.asn, 65_101)
  t.equal(store.status, undefined)
  t.notOk(existsSync(stateFile))
  t.strictSame(said, ['65102 applied', '65101 not confirmed in time: rolled back'])
})

t.test('what cannot be written down is not tried, and what is late goes all the same', async (t) => {
  const { said, open, stateFile } = bed(t)
  const store = open()
  rmSync(dirname(stateFile), { recursive: true })
  t.throws(() => store.apply(routing(65_102), 40), { code: 'ENOENT' })
  t.equal(store.config.routing.asn, 65_101, 'or it would be in force without a deadline')
  t.equal(store.status, undefined)
  mkdirSync(dirname(stateFile))
  store.apply(routing(65_102), undefined)
  store.apply(routing(65_103), 40)
  rmSync(dirname(stateFile), { recursive: true })
  await new Promise((resolve) => setTimeout(resolve, 120))
  t.strictSame(said, ['65102 applied', '65103 applied', '65102 not confirmed in time: rolled back'])
})

t.test('confirmed: it stays, also for the next agent, until the file says something new', async (t) => {
  const { state, said, open } = bed(t)
  const store = open()
  store.apply(routing(65_102), 60_000)
  store.confirm()
  t.strictSame(store.status, { appliedAtMs: 1_000_000, deadlineMs: undefined })
  t.throws(() => store.confirm(), { code: 'NOTHING_PENDING' })
  t.equal(open().config.routing.asn, 65_102)
  state.text = fileText(65_109)
  store.fileChanged()
  t.equal(store.config.routing.asn, 65_109)
  t.equal(said.at(-1), '65109 the file changed')
})

t.test('an agent that starts in between keeps the deadline', async (t) => {
  const { said, open, pass, stateFile } = bed(t)
  open().apply(routing(65_102), 60_000)
  pass(59_950)
  const next = open()
  t.equal(next.config.routing.asn, 65_102)
  t.equal(next.status?.deadlineMs, 1_060_000)
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.equal(next.config.routing.asn, 65_101)
  t.equal(said.at(-1), '65101 not confirmed in time: rolled back')
  t.notOk(existsSync(stateFile))
})

t.test('an agent that starts too late starts with what was before', async (t) => {
  const { open, pass, stateFile } = bed(t)
  open().apply(routing(65_102), 60_000)
  pass(60_001)
  t.equal(open().config.routing.asn, 65_101)
  t.notOk(existsSync(stateFile))
})

t.test('whoever sets the clock neither ends a trial nor makes it last', async (t) => {
  const { state, open, pass } = bed(t)
  const store = open()
  store.apply(routing(65_102), 60_000)
  state.nowMs += 86_400_000
  t.equal(open().config.routing.asn, 65_102, 'set forward')
  t.equal(store.status?.deadlineMs, 1_000_000 + 86_400_000 + 60_000, 'shown by the new time of day')
  state.nowMs -= 2 * 86_400_000
  pass(30_000)
  t.equal(open().config.routing.asn, 65_102, 'set back')
  t.equal(store.status?.deadlineMs, state.nowMs + 30_000)
  pass(30_000)
  t.equal(open().config.routing.asn, 65_101, 'a minute is a minute')
})

t.test('a reboot ends a trial, for nobody knows how long it took; what was confirmed stays', async (t) => {
  const { state, open } = bed(t)
  const store = open()
  store.apply(routing(65_102), undefined)
  store.apply(routing(65_103), 60_000)
  state.bootId = 'another-boot'
  state.bootMs = 10
  const next = open()
  t.equal(next.config.routing.asn, 65_102)
  t.equal(open().config.routing.asn, 65_102, 'and the next one agrees')
})

t.test('a trial of an agent that went by the time of day is over', async (t) => {
  const { open, stateFile } = bed(t)
  open().apply(routing(65_102), 60_000)
  const { candidate } = JSON.parse(readFileSync(stateFile, 'utf8')) as { candidate: { deadline?: object } }
  const { deadline: _, ...rest } = candidate
  writeFileSync(stateFile, JSON.stringify({ candidate: { ...rest, deadlineMs: 9_000_000_000_000 } }))
  t.equal(open().config.routing.asn, 65_101)
})

t.test('a trial that outlasts many looks at the clock ends all the same', async (t) => {
  const { state, open } = bed(t)
  const store = open()
  store.apply(routing(65_102), 10_000)
  state.bootMs += 9_900
  await new Promise((resolve) => setTimeout(resolve, 1_400))
  t.equal(
    store.config.routing.asn,
    65_101,
    'as after a machine was suspended: timers alone would wait for nine more seconds',
  )
})

t.test('where nothing is pending, what became of it is told, and what to do next', async (t) => {
  const { said, open } = bed(t)
  const store = open()
  t.throws(() => store.confirm(), {
    message: /none was applied.* Mend: try it .*weir bgp apply -f FILE --confirm/,
  })
  t.throws(() => store.rollback(), {
    message: /agent's file is in force.* Mend: change the file itself, or try a change with 'weir bgp apply/,
  })
  store.apply(routing(65_102), 30)
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(said.length, 2)
  t.throws(() => store.confirm(), {
    message: /the last one ended at 1970-\S+Z: not confirmed in time.* Mend: try it \(again\)/,
  })
  t.throws(() => store.rollback(), { message: /not confirmed in time.* Mend: / })
  store.apply(routing(65_102), undefined)
  t.throws(() => store.confirm(), {
    message: /confirmed and in force\. Mend: write it to the agent's file.*weir bgp rollback/,
  })
})

t.test(
  'a trial over a confirmed candidate comes back to that; over a trial, to what was before it',
  async (t) => {
    const { open } = bed(t)
    const store = open()
    store.apply(routing(65_102), undefined)
    store.apply(routing(65_103), 60_000)
    store.apply(routing(65_104), 60_000)
    t.equal(store.config.routing.asn, 65_104)
    t.equal(open().config.routing.asn, 65_104)
    store.rollback()
    t.equal(store.config.routing.asn, 65_102)
    store.rollback()
    t.equal(store.config.routing.asn, 65_101)
    t.throws(() => store.rollback(), { code: 'NOTHING_PENDING' })
  },
)

t.test('what is refused changes nothing', async (t) => {
  const { said, open } = bed(t)
  const store = open()
  const cases: [string, { code: string; message?: RegExp }][] = [
    ['routing: { asn: 0 }', { code: 'INVALID', message: /the candidate is refused:\n {2}routing\.asn/ }],
    ['routing: { pers: [] }', { code: 'INVALID', message: /did you mean 'peers'/ }],
    ['pools: [ { name: a, prefixes: [0.0.0.0/33] } ]', { code: 'INVALID' }],
    ['a: [', { code: 'INVALID', message: /not valid YAML/ }],
    ['nodeName: x', { code: 'INVALID', message: /has neither routing nor pools/ }],
    ['', { code: 'INVALID' }],
    [
      `${routing(65_102)}\nlogLevel: debug`,
      { code: 'NEEDS_RESTART', message: /logLevel cannot be tried live/ },
    ],
    [
      'routing: { gobgp: "unix:///h.sock", asn: 65102 }',
      { code: 'NEEDS_RESTART', message: /routing\.gobgp/ },
    ],
  ]
  for (const [text, expected] of cases) t.throws(() => store.apply(text, 1000), expected, text)
  t.equal(store.config.routing.asn, 65_101)
  t.strictSame(said, [])
})

t.test('a whole file will do, where nothing else differs', async (t) => {
  const { open } = bed(t)
  t.equal(open().check(fileText(65_102)).routing.asn, 65_102)
})

t.test('a candidate over another file is none', async (t) => {
  const { state, open } = bed(t)
  open().apply(routing(65_102), undefined)
  const before = state.text
  state.text = `${before}logLevel: debug\n`
  t.equal(open().config.routing.asn, 65_102, 'other sections may change')
  state.text = fileText(65_109)
  t.equal(open().config.routing.asn, 65_109)
})

t.test('a broken state file is none', async (t) => {
  const { open, stateFile } = bed(t)
  writeFileSync(stateFile, '{')
  t.equal(open().config.routing.asn, 65_101)
})
