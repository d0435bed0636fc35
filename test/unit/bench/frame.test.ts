import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Figure } from '../../../bench/frame/figure.ts'
import { gridsOf, markdownText, numberText, screenText, valueText } from '../../../bench/frame/grid.ts'
import { interleave } from '../../../bench/frame/interleave.ts'
import { keepReport, type Report, shortfallsOf, writePage } from '../../../bench/frame/report.ts'
import { ratio, standingOf, summarize } from '../../../bench/frame/statistics.ts'
import { UndoStack } from '../../../bench/frame/undo.ts'

const figure = (change: Partial<Figure>): Figure => ({
  table: 'Cost',
  row: 'weir',
  column: '10 Services',
  x: 10,
  unit: 'ns',
  samples: [80, 78, 81],
  ...change,
})

t.test('everything is measured once a round, in another order each time', async (t) => {
  const order: string[] = []
  const names = ['a', 'b', 'c', 'd', 'e']
  const values = await interleave(
    new Map(
      names.map((name) => [
        name,
        () => {
          order.push(name)
          return order.length
        },
      ]),
    ),
    4,
  )
  const rounds = [0, 1, 2, 3].map((round) => order.slice(round * 5, round * 5 + 5))
  for (const round of rounds) t.strictSame([...round].sort(), names)
  t.equal(new Set(rounds.map((round) => round.join())).size, 4)
  for (const [name, positions] of values)
    t.strictSame(
      positions,
      rounds.map((round, index) => index * 5 + round.indexOf(name) + 1),
    )
})

t.test('the median of an even number of rounds lies between the two in the middle', async (t) => {
  t.strictSame(summarize([4, 1, 3, 2]), { median: 2.5, lowest: 1, highest: 4 })
  t.strictSame(summarize([9]), { median: 9, lowest: 9, highest: 9 })
  t.ok(Number.isNaN(summarize([]).median))
})

t.test('ratios are taken round by round', async (t) => {
  const place = { table: 'Gain', row: 'weir', column: '10 Services' }
  const gain = ratio({ samples: [300, 900] }, { samples: [100, 300] }, place)
  t.strictSame([gain.samples, gain.unit], [[3, 3], '×'])
  t.throws(() => ratio({ samples: [1] }, { samples: [1, 2] }, place), /1 rounds cannot be divided by 2/)
})

t.test('a figure noisier than its claim is unclear, on whichever side its median is', async (t) => {
  const atMost = { sense: 'at most', must: 100, aim: 70 } as const
  const atLeast = { sense: 'at least', must: 3 } as const
  const cases = [
    [[60, 65, 72], atMost, 'aim reached'],
    [[80, 85, 99], atMost, 'met'],
    [[80, 85, 101], atMost, 'unclear'],
    [[99, 105, 110], atMost, 'unclear'],
    [[101, 105, 110], atMost, 'missed'],
    [[3, 3.2], atLeast, 'met'],
    [[2.9, 3.2], atLeast, 'unclear'],
    [[2, 2.9], atLeast, 'missed'],
    [[], atLeast, undefined],
    [[1], undefined, undefined],
  ] as const
  for (const [samples, bound, standing] of cases)
    t.equal(standingOf({ samples, ...(bound === undefined ? {} : { bound }) }), standing, samples.join(' '))
})

t.test('numbers show what they are good for', async (t) => {
  t.strictSame([0.1234, 4, 12.34, 99.97, 123.4, 1234567, Number.NaN].map(numberText), [
    '0.12',
    '4',
    '12.3',
    '100',
    '123',
    '1 234 567',
    '–',
  ])
  t.equal(valueText({ samples: [80, 78, 81], unit: 'ns' }), '80 [78–81] ns')
  t.equal(valueText({ samples: [3, 3], unit: '×' }), '3×')
})

const figures = [
  figure({ bound: { sense: 'at most', must: 79 } }),
  figure({ column: '1 000 Services', x: 1000, samples: [90] }),
  figure({ row: 'iptables mode', isPeer: true, samples: [500, 510, 490] }),
  figure({ row: 'iptables mode', isPeer: true, column: '1 000 Services', x: 1000, samples: [] }),
]

t.test('screen and page show the same grid', async (t) => {
  const [grid] = gridsOf(figures)
  if (grid === undefined) throw new Error('no grid')
  t.strictSame(grid.columns, ['', '10 Services', '1 000 Services', 'must (aim)'])
  t.strictSame(grid.rows, [
    ['weir', '80 [78–81] ns ≈', '90 ns', '≤ 79 ns'],
    ['iptables mode', '500 [490–510] ns', '–', ''],
  ])
  t.match(screenText(grid), /iptables mode +500 \[490–510\] ns +–$/m)
  t.match(markdownText(grid), /^\| weir \| 80 \[78–81\] ns ≈ \| 90 ns \| ≤ 79 ns \|$/m)
  t.strictSame(shortfallsOf(figures), ['unclear: Cost: weir, 10 Services: 80 [78–81] ns, wanted ≤ 79 ns'])
})

t.test('a run keeps its figures as JSON and plot, and the page holds every family kept', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-bench-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const report = (name: string): Report => ({
    name,
    title: `The ${name}`,
    about: 'How it is measured.',
    figures,
    plots: [{ table: 'Cost', file: `${name}-cost`, abscissa: 'Services', scale: 'logarithmic' }],
    remarks: ['One case was left out.'],
    versions: { nft: '1.0.6' },
    occasion: {
      begunAt: '2026-01-01T10:00',
      seconds: 3,
      machine: 'a machine',
      kernel: 'a kernel',
      settings: 'BPF JIT',
      versions: { Weir: 'abc' },
      loadBefore: 0.1,
      effort: '3 rounds',
    },
  })
  const kept = await keepReport(report('second'), directory)
  await keepReport(report('first'), directory)
  t.strictSame(
    kept.map((file) => file.slice(directory.length)),
    ['/results/second.json', '/results/second-cost.svg'],
  )
  t.strictSame(JSON.parse(readFileSync(kept[0] ?? '', 'utf8')).figures, figures)
  const svg = readFileSync(kept[1] ?? '', 'utf8')
  t.match(svg, /^<svg [\s\S]*iptables mode[\s\S]*<\/svg>\n$/)
  const page = readFileSync(writePage(directory, ['first', 'second']), 'utf8')
  t.ok(page.indexOf('## The first') > 0 && page.indexOf('## The first') < page.indexOf('## The second'))
  for (const part of [
    'a kernel',
    'nft 1.0.6',
    '1 unclear',
    '(results/first-cost.svg)',
    'One case was left out',
  ])
    t.ok(page.includes(part), part)
})

t.test('a plot of a single size is not drawn', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-bench-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const { drawPlot } = await import('../../../bench/frame/plot.ts')
  const plot = { table: 'Cost', file: 'cost', abscissa: 'Services', scale: 'linear' } as const
  t.equal(await drawPlot(plot, [figure({})]), undefined)
})

t.test('what was set up is taken down newest first, even past a failure', async (t) => {
  const undone: string[] = []
  const undo = new UndoStack()
  undo.push(() => void undone.push('namespace'))
  undo.push(async () => {
    undone.push('process')
    throw new Error('expected by this test')
  })
  undo.push(() => void undone.push('pin'))
  await undo.run()
  t.strictSame(undone, ['pin', 'process', 'namespace'])
})

t.test('two who take down at once wait for each other, and nothing is overtaken', async (t) => {
  const undone: string[] = []
  const undo = new UndoStack()
  undo.push(() => void undone.push('namespace'))
  undo.push(async () => {
    await new Promise((resolve) => setImmediate(resolve))
    undone.push('process')
  })
  const first = undo.run()
  await undo.run()
  t.strictSame(undone, ['process', 'namespace'])
  await first
})
