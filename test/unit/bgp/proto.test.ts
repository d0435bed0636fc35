// Our statement of GoBGP's messages against GoBGP's own files, and the generated code against our statement.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { generate } from '../../../bgp/proto/generate.ts'

const OURS = join(import.meta.dirname, '../../../bgp/proto/gobgp-v3.proto')
const THEIRS = '/usr/share/gocode/src/github.com/osrg/gobgp/api'

/** Every field, enum value and call as one line: `Outer.Inner.type name = number`. */
function facts(source: string): Set<string> {
  const scopes: string[] = []
  const found = new Set<string>()
  const text = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
  for (const [statement, end] of [...text.matchAll(/([^;{}]*)([;{}])/g)].map((match) => [
    match[1]?.trim(),
    match[2],
  ])) {
    const words = (statement ?? '').replace(/\s+/g, ' ')
    const here = scopes.filter((scope) => scope !== '').join('.')
    const scope = /^(message|enum|service) (\w+)$/.exec(words)
    const call = /^rpc (\w+) ?\((stream )?(\S+)\) ?returns ?\((stream )?(\S+)\)$/.exec(words)
    // apipb.Family and Family name the same thing.
    const field = /^((?:repeated )?[\w.]+ )?(\w+) = (\d+)( \[.*\])?$/.exec(words)
    if (end === '{') scopes.push(scope?.[2] ?? '')
    if (call) found.add(`rpc ${call[1]} ${call[2] ?? ''}${call[3]} ${call[4] ?? ''}${call[5]}`)
    else if (field) found.add(`${here} ${(field[1] ?? '').replace('apipb.', '')}${field[2]} = ${field[3]}`)
    if (end === '}') scopes.pop()
  }
  return found
}

const absent = existsSync(THEIRS)
  ? false
  : 'golang-github-osrg-gobgp-dev is not installed, so there is nothing to compare with'

t.test('every name and number of ours is one of GoBGP 3', { skip: absent }, async (t) => {
  const theirs = new Set(
    ['gobgp', 'attribute', 'capability'].flatMap((name) => [
      ...facts(readFileSync(`${THEIRS}/${name}.proto`, 'utf8')),
    ]),
  )
  const ours = facts(readFileSync(OURS, 'utf8'))
  t.ok(ours.size > 280, `${ours.size} facts read from ours`)
  t.same(
    [...ours].filter((fact) => !theirs.has(fact)),
    // The same on the wire; why is said there.
    ['WatchEventResponse.TableEvent repeated bytes paths = 2'],
  )
})

t.test('the generated code is what the generator makes of it', async (t) => {
  for (const [file, text] of generate())
    t.equal(readFileSync(file, 'utf8'), text, "mend: run 'node bgp/proto/generate.ts'")
})
