// A family of figures: what it hands over, and what it is handed. Everything else (order of the rounds, tables, plots, files) is the frame's.

/** What a figure is held against: a bar to clear, and where to go on. In the figure's own unit. */
export interface Bound {
  readonly sense: 'at most' | 'at least'
  readonly must?: number
  readonly aim?: number
}

/** One cell of one table. A ratio is a figure too, of unit '×' (`ratio`). */
export interface Figure {
  /** Title of its table, unique in the family. */
  readonly table: string
  /** Of a plot, the series: 'weir XDP', 'iptables mode', 'established, DSR, IPv4'. */
  readonly row: string
  /** '10 000 Services', '4 096 flows'. */
  readonly column: string
  /** The column as a number, where it is one: the plot's abscissa. */
  readonly x?: number
  /** 'ns', 'packets/s', 'ms', 'MB', '%', '×', 'instructions'… */
  readonly unit: string
  /** One value a round, in the order of the rounds: figures of the same rounds can be divided round by round. */
  readonly samples: readonly number[]
  readonly bound?: Bound
  /** Measured for comparison, not ours: drawn beside ours, held against nothing. */
  readonly isPeer?: boolean
}

/** Draws every figure of one table that has an abscissa; a series a row, with its spread. */
export interface Plot {
  readonly table: string
  /** File name without its ending, unique among all families. */
  readonly file: string
  readonly abscissa: string
  readonly scale: 'linear' | 'logarithmic'
}

export interface Measured {
  readonly figures: readonly Figure[]
  readonly plots: readonly Plot[]
  /** '3 rounds': how often it measured, where that is not the rounds it was asked for. */
  readonly repeated?: string
  /** Full sentences for the page: what was out of the ordinary in this run (a case left out and why, packets lost). */
  readonly remarks: readonly string[]
  /** Versions of what was measured besides kernel, processor and Node: 'nft' → '1.0.6'. */
  readonly versions: Readonly<Record<string, string>>
}

/** How thorough the user asked it to be. */
export interface Effort {
  /** Numbers of Services, ascending; a family takes those it can do and remarks on the others. */
  readonly services: readonly number[]
  readonly rounds: number
  /** A look in a minute or two instead of a measurement: fewer packets, cases that take minutes to set up left out. */
  readonly isQuick: boolean
  /** Progress, a line. */
  say(line: string): void
  /** Registers what to undo, newest first, also when the run fails or is interrupted. */
  defer(undo: () => void | Promise<void>): void
}

export interface Family {
  /** As on the command line: `npm run bench -- packet`. */
  readonly name: string
  readonly title: string
  /** For the page: what is measured and how, what is in a figure and what is not. Markdown paragraphs. */
  readonly about: string
  measure(effort: Effort): Promise<Measured>
}
