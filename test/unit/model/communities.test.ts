// Communities: every form that is read, one canonical text for each, and what is refused.

import fc from 'fast-check'
import t from 'tap'
import {
  communitiesOf,
  describeBadCommunity,
  parseCommunity,
  showCommunity,
  WELL_KNOWN_COMMUNITIES,
} from '../../../src/model/communities.ts'

t.test('what is read', async (t) => {
  const cases: [string, string | undefined][] = [
    ['65101:100', '65101:100'],
    [' 65101:100 ', '65101:100'],
    ['065101:0100', '65101:100'],
    ['no-export', '65535:65281'],
    ['NO-ADVERTISE', '65535:65282'],
    ['blackhole', '65535:666'],
    ['graceful-shutdown', '65535:0'],
    ['planned-shut', '65535:0'],
    ['4266396004', '65100:2404'],
    ['4200000000:1:2', '4200000000:1:2'],
    ['65536:1', undefined],
    ['1:65536', undefined],
    ['4294967296', undefined],
    ['1:2:4294967296', undefined],
    ['1:2:3:4', undefined],
    ['-1:2', undefined],
    ['', undefined],
    ['constructor', undefined],
  ]
  for (const [text, expected] of cases) t.equal(parseCommunity(text)?.text, expected, text)
  t.equal(parseCommunity('1:2')?.kind, 'standard')
  t.equal(parseCommunity('1:2:3')?.kind, 'large')
})

t.test('what is shown: well-known ones by name, and every name reads as what it stands for', async (t) => {
  t.equal(showCommunity('65535:0'), 'graceful-shutdown')
  t.equal(showCommunity('65535:65281'), 'no-export')
  t.equal(showCommunity('65535:65283'), 'no-export-subconfed')
  t.equal(showCommunity('65535:1234'), '65535:1234')
  t.equal(showCommunity('65101:100'), '65101:100')
  for (const [name, text] of Object.entries(WELL_KNOWN_COMMUNITIES)) {
    t.equal(parseCommunity(name)?.text, text, name)
    t.equal(parseCommunity(showCommunity(text))?.text, text, `${name} as it is shown`)
  }
})

t.test('a misspelt name has a hint', async (t) => {
  t.match(describeBadCommunity('noexport'), /did you mean 'no-export'/)
})

t.test('sorted by number, without doubles', async (t) => {
  const given = ['100:2', '20:1', '20:1', '1:1:10', '1:1:9'].flatMap((text) => parseCommunity(text) ?? [])
  t.strictSame(communitiesOf(given), {
    communities: ['20:1', '100:2'],
    largeCommunities: ['1:1:9', '1:1:10'],
  })
})

t.test('canonical text reads as itself', async () => {
  const word = fc.integer({ min: 0, max: 0xffff_ffff })
  const half = fc.integer({ min: 0, max: 0xffff })
  const texts = fc.oneof(
    fc.tuple(half, half).map((parts) => parts.join(':')),
    fc.tuple(word, word, word).map((parts) => parts.join(':')),
    fc.constantFrom(...Object.values(WELL_KNOWN_COMMUNITIES)),
  )
  fc.assert(fc.property(texts, (text) => parseCommunity(text)?.text === text))
})
