// Metrics and their text, in Prometheus' exposition format 0.0.4.
//
// Most of what Weir tells is counted elsewhere already, by the kernel or by a table, and only read when somebody asks. So a
// metric is a name and a function that reads; a histogram is the one kind that remembers. Its labels and their values are
// few and fixed by who makes it: nothing here grows with the cluster.

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels?: Labels
  readonly value: number
}

interface Described {
  readonly name: string
  readonly help: string
}

/** A value that is read when asked for. */
export interface Reading extends Described {
  readonly type: 'counter' | 'gauge'
  readonly read: () => number | Iterable<Sample>
}

export type Metric = Reading | Histogram

interface Series {
  readonly labels: Labels
  /** By bucket, not yet summed up. */
  readonly counts: number[]
  sum: number
  count: number
}

export class Histogram {
  readonly type = 'histogram'
  readonly name: string
  readonly help: string
  readonly #bounds: readonly number[]
  readonly #series = new Map<string, Series>()

  /**
   * @param bounds upper bounds of the buckets, ascending; the one without bound is added
   * @param series what is shown before anything was observed
   */
  constructor(
    { name, help, bounds }: Described & { readonly bounds: readonly number[] },
    series: readonly Labels[],
  ) {
    this.name = name
    this.help = help
    this.#bounds = bounds
    for (const labels of series) this.#seriesOf(labels)
  }

  observe(labels: Labels, value: number): void {
    const series = this.#seriesOf(labels)
    const index = this.#bounds.findIndex((bound) => value <= bound)
    const bucket = index < 0 ? this.#bounds.length : index
    series.counts[bucket] = (series.counts[bucket] ?? 0) + 1
    series.sum += value
    series.count += 1
  }

  *lines(): Iterable<string> {
    for (const { labels, counts, sum, count } of this.#series.values()) {
      let below = 0
      for (const [index, bound] of [...this.#bounds, Number.POSITIVE_INFINITY].entries()) {
        below += counts[index] ?? 0
        yield sampleLine(`${this.name}_bucket`, { ...labels, le: numberText(bound) }, below)
      }
      yield sampleLine(`${this.name}_sum`, labels, sum)
      yield sampleLine(`${this.name}_count`, labels, count)
    }
  }

  #seriesOf(labels: Labels): Series {
    const key = JSON.stringify(labels)
    const known = this.#series.get(key)
    if (known) return known
    const series = { labels, counts: [], sum: 0, count: 0 }
    this.#series.set(key, series)
    return series
  }
}

/** Counts by the values of one label. */
export class Counts {
  readonly #label: string
  readonly #counts: Map<string, number>

  constructor(label: string, values: readonly string[]) {
    this.#label = label
    this.#counts = new Map(values.map((value) => [value, 0]))
  }

  add(value: string, by = 1): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + by)
  }

  *samples(): Iterable<Sample> {
    for (const [value, count] of this.#counts) yield { labels: { [this.#label]: value }, value: count }
  }
}

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** @param onProblem told of a metric that cannot be read, which is left out: the others still count */
export function exposition(
  metrics: readonly Metric[],
  onProblem: (name: string, error: unknown) => void,
): string {
  const lines: string[] = []
  for (const metric of metrics) {
    try {
      const samples = [...linesOf(metric)]
      if (samples.length === 0) continue
      const help = metric.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
      lines.push(`# HELP ${metric.name} ${help}`, `# TYPE ${metric.name} ${metric.type}`, ...samples)
    } catch (error) {
      onProblem(metric.name, error)
    }
  }
  return `${lines.join('\n')}\n`
}

function linesOf(metric: Metric): Iterable<string> {
  if (metric instanceof Histogram) return metric.lines()
  const read = metric.read()
  const samples = typeof read === 'number' ? [{ value: read }] : [...read]
  return samples.map(({ labels, value }) => sampleLine(metric.name, labels ?? {}, value))
}

function sampleLine(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${numberText(value)}`
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}
