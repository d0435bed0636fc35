// What Services' annotations said last, from one agent to the next: what is kept, what is forgotten, and what is no memory.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ANNOUNCING_MEMORY_FILE, AnnouncingMemory } from '../../../src/agent/announcing-memory.ts'
import { objectKey } from '../../../src/model/service.ts'
import { settleAnnouncing } from '../../../src/routing/settle-announcing.ts'
import { serviceRow } from '../model/rows.ts'
import { announcing, attributes } from '../routing/beds.ts'

const KEY = objectKey('shop', 'web')
const BAD = announcing({ unreadable: "annotation x 'y' is no community" })
const FULL = announcing({
  attributes: attributes({ communities: ['65535:65281'], localPref: 50, med: 0, prepend: 2 }),
  peers: ['tor1'],
  advertise: { 'cluster-ip': true, 'load-balancer-ip': false },
  withoutEndpoints: 'keep',
})
const SOME_MS = 11 * 60_000

class Node {
  readonly directory = mkdtempSync(join(tmpdir(), 'announcing-'))
  readonly file = join(this.directory, ANNOUNCING_MEMORY_FILE)
  readonly warnings: string[] = []
  nowMs = 0

  constructor(t: Test) {
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }))
  }

  agent(): AnnouncingMemory {
    const log = { warn: (_: object, message: string) => void this.warnings.push(message) }
    return new AnnouncingMemory({
      stateDirectory: this.directory,
      log: log as never,
      nowMs: () => this.nowMs,
    })
  }
}

t.test('what was said stands in force with the next agent, and the one after', async (t) => {
  const node = new Node(t)
  const first = node.agent()
  first.keep(KEY, serviceRow({ announcing: FULL }))
  first.keep(objectKey('shop', 'silent'), serviceRow({ announcing: undefined }))
  first.keep(objectKey('shop', 'new'), serviceRow({ announcing: BAD }))
  first.close()
  for (const time of ['second', 'third']) {
    const agent = node.agent()
    const kept = settleAnnouncing(serviceRow({ announcing: BAD }), agent.recall(KEY))
    t.same(kept.announcing, { ...FULL, overruled: BAD.unreadable }, time)
    t.equal(agent.recall(objectKey('shop', 'silent')), undefined)
    t.equal(agent.recall(objectKey('shop', 'new')), undefined, 'what never could be read')
    agent.keep(KEY, kept)
    agent.close()
  }
  t.notMatch(readFileSync(node.file, 'utf8'), 'is no community', 'a slip is read from the Service each time')
})

t.test('one that had said nothing is held to that while its slip lasts', async (t) => {
  const node = new Node(t)
  const first = node.agent()
  first.keep(KEY, settleAnnouncing(serviceRow({ announcing: BAD }), serviceRow({ announcing: undefined })))
  first.close()
  const second = node.agent()
  const kept = settleAnnouncing(serviceRow({ announcing: BAD }), second.recall(KEY))
  t.match(kept.announcing, { attributes: attributes(), overruled: BAD.unreadable })
  t.equal(kept.announcing?.unreadable, undefined)
  second.keep(KEY, serviceRow({ announcing: undefined }))
  second.close()
  t.equal(node.agent().recall(KEY), undefined, 'mended')
})

t.test('who is gone is forgotten, at once or by the time every Service was seen', async (t) => {
  const node = new Node(t)
  const first = node.agent()
  const [gone, unseen, here] = ['gone', 'unseen', 'here'].map((name) => objectKey('shop', name))
  if (gone === undefined || unseen === undefined || here === undefined) return
  for (const key of [gone, unseen, here]) first.keep(key, serviceRow({ announcing: FULL }))
  first.keep(gone, undefined)
  first.close()
  const second = node.agent()
  second.keep(here, serviceRow({ announcing: BAD }))
  second.close()
  t.equal(node.agent().recall(gone), undefined)
  t.ok(node.agent().recall(unseen))
  t.equal(node.agent().recall(here), undefined, 'made anew, and never readable')

  const third = node.agent()
  node.nowMs += SOME_MS
  third.keep(here, serviceRow({ announcing: FULL }))
  third.close()
  t.equal(node.agent().recall(unseen), undefined)
  t.ok(node.agent().recall(here))
})

t.test('damage is told of, and rows that make no sense are left out', async (t) => {
  const node = new Node(t)
  const agent = node.agent()
  agent.keep(KEY, serviceRow({ announcing: FULL }))
  agent.close()
  const text = readFileSync(node.file, 'utf8')
  t.same(node.warnings, [])
  for (const [from, to] of [
    ['"peers":["tor1"]', '"peers":"tor1"'],
    ['"communities":["65535:65281"]', '"communities":[1]'],
    ['"prepend":2', '"prepend":"2"'],
    ['"med":0', '"med":"0"'],
    ['"keep"', '"always"'],
    ['"uid"', '"id"'],
  ] as const) {
    t.ok(text.includes(from), from)
    writeFileSync(node.file, text.replace(from, to))
    t.equal(node.agent().recall(KEY), undefined, to)
  }
  t.same(node.warnings, [])
  writeFileSync(node.file, text.slice(0, -5))
  t.equal(node.agent().recall(KEY), undefined)
  t.equal(node.warnings.length, 1)
})
