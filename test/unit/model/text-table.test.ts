// Tables on a page: as wide as their cells, and where that is too wide, broken without losing a word.

import fc from 'fast-check'
import t from 'tap'
import { formatFields, formatTable, wrapText } from '../../../src/model/text-table.ts'

const WHY = 'Service shop/web has two usable endpoints'

t.test('a table that fits stands as it is', async (t) => {
  const table = `PREFIX          WHY\n203.0.113.7/32  ${WHY}`
  const rows = [['203.0.113.7/32', WHY]]
  t.equal(formatTable(['PREFIX', 'WHY'], rows), table)
  t.equal(formatTable(['PREFIX', 'WHY'], rows, { width: 120, flexible: ['WHY'] }), table)
  t.equal(formatTable(['PREFIX', 'WHY'], rows, { width: Infinity, flexible: ['WHY'] }), table)
})

t.test('prose goes on below itself; what is no prose stays whole', async (t) => {
  t.equal(
    formatTable(['PREFIX', 'WHY', 'AGE'], [['203.0.113.7/32', WHY, '5m']], { width: 42, flexible: ['WHY'] }),
    [
      'PREFIX          WHY                    AGE',
      '203.0.113.7/32  Service shop/web has   5m',
      '                two usable endpoints',
    ].join('\n'),
  )
})

t.test('the widest gives way first', async (t) => {
  const [, first = ''] = formatTable(
    ['A', 'B'],
    [['twenty characters ok', 'a text of forty characters, all of prose']],
    { width: 46, flexible: ['A', 'B'] },
  ).split('\n')
  t.match(first, /^twenty characters ok {2}a text of forty$/)
})

t.test('an address longer than its page is broken, last of all', async (t) => {
  const address = '2001:db8:1111:2222:3333:4444:5555:6666'
  t.equal(
    formatTable(['ADDRESS', 'STATE'], [[address, 'up']], { width: 27, flexible: ['STATE'] }),
    ['ADDRESS               STATE', '2001:db8:1111:2222:3  up', '333:4444:5555:6666'].join('\n'),
  )
})

const words = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', ':'), minLength: 1, maxLength: 60 }), {
  maxLength: 12,
})

t.test('every word of every cell is there, and no line is longer than the page', async () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(words, words), { maxLength: 4 }), (rows) => {
      const texts = rows.map((row) => row.map((cell) => cell.join(' ')))
      const lines = formatTable(['ONE', 'TWO'], texts, { width: 50, flexible: ['TWO'] }).split('\n')
      const letters = (text: string) => [...text].filter((one) => 'ab:'.includes(one)).sort()
      return (
        lines.every((line) => line.length <= 50) &&
        letters(lines.slice(1).join('')).join('') === letters(texts.flat().join('')).join('')
      )
    }),
  )
})

t.test('paragraphs and fields', async (t) => {
  t.equal(wrapText('peer tor1: it is down', 80, '  '), 'peer tor1: it is down')
  t.equal(wrapText('peer tor1: it is down', 12, '  '), 'peer tor1:\n  it is down')
  t.equal(
    formatFields(
      [
        ['State', 'established since a long time'],
        ['BFD', 'up'],
      ],
      27,
      '  ',
    ),
    '  State  established since\n         a long time\n  BFD    up',
  )
})
