// The text that Prometheus reads.

import t from 'tap'
import { Counts, exposition, Histogram, type Metric } from '../../../../src/agent/metrics/exposition.ts'

const render = (...metrics: Metric[]) => exposition(metrics, (name) => t.fail(name))

t.test('gauges and counters: one value, or one for each set of labels', async (t) => {
  const codes = new Counts('code', ['200', '503'])
  codes.add('503')
  const text = render(
    { name: 'one', help: 'a back\\slash\nand a line', type: 'gauge', read: () => 1.5 },
    { name: 'many', help: 'h', type: 'counter', read: () => codes.samples() },
    { name: 'odd', help: 'h', type: 'gauge', read: () => [{ labels: { a: '"\\\n', b: '' }, value: 1e21 }] },
    { name: 'nothing', help: 'h', type: 'gauge', read: () => [] },
  )
  t.equal(
    text,
    [
      '# HELP one a back\\\\slash\\nand a line',
      '# TYPE one gauge',
      'one 1.5',
      '# HELP many h',
      '# TYPE many counter',
      'many{code="200"} 0',
      'many{code="503"} 1',
      '# HELP odd h',
      '# TYPE odd gauge',
      'odd{a="\\"\\\\\\n",b=""} 1e+21',
      '',
    ].join('\n'),
  )
})

t.test('histograms: buckets add up, bounds belong to the bucket below', async (t) => {
  const histogram = new Histogram({ name: 'h', help: 'x', bounds: [0.25, 1] }, [{ f: 'a' }])
  for (const value of [0.25, 0.3, 1, 7]) histogram.observe({ f: 'a' }, value)
  t.equal(
    render(histogram),
    [
      '# HELP h x',
      '# TYPE h histogram',
      'h_bucket{f="a",le="0.25"} 1',
      'h_bucket{f="a",le="1"} 3',
      'h_bucket{f="a",le="+Inf"} 4',
      'h_sum{f="a"} 8.55',
      'h_count{f="a"} 4',
      '',
    ].join('\n'),
  )
})

t.test('what cannot be read is left out, and told of', async (t) => {
  const problems: string[] = []
  const read = () => {
    throw new Error('no such map')
  }
  const text = exposition(
    [
      { name: 'bad', help: 'h', type: 'gauge', read },
      { name: 'good', help: 'h', type: 'gauge', read: () => 1 },
    ],
    (name) => problems.push(name),
  )
  t.match(text, /^good 1$/m)
  t.notMatch(text, /bad/)
  t.strictSame(problems, ['bad'])
})
