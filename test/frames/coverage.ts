// How often each path was met, how it ended, and what kinds of frames there were.

import { familyOf } from '../../src/model/address.ts'
import { isError, isOfLink, LENT_PORTS } from './gates.ts'
import type { Journey } from './journey.ts'
import type { Expected } from './referee.ts'
import type { Step } from './said.ts'

/** What a run must have met to count; `pass` and `drop` where both must have been. */
const PATHS_OF_POLICY = [
  'pod → pod here',
  'pod → elsewhere',
  'pod → node',
  'node → elsewhere',
  'outside → pod here',
  'outside → node',
  'vip → pod here',
  'masqueraded-vip → pod here',
  'node port → pod here',
  'tunnel → pod here',
  'tunnel of a pod here → pod here',
  'pod → Service → pod here',
  'pod → Service → elsewhere',
  'pod → Service → itself',
] as const
const OTHER_PATHS = [
  'node → pod here: pass',
  'vip → elsewhere: pass',
  'masqueraded-vip → elsewhere: pass',
  'answer → outside: pass',
  'answer → pod here: pass',
  'answer → itself: pass',
  'answer from elsewhere → pod here: pass',
  'masqueraded answer → outside: pass',
  'error → Service → pod here: pass',
  'error from elsewhere → client here: pass',
  'error of a backend → outside: pass',
  'error of a backend → client here: pass',
  'error of a masqueraded connection: pass',
  'forged by a pod: drop',
  'forged from outside: drop',
  'tagged by a pod: drop',
  'neighbour discovery: pass',
] as const
const KINDS = [
  ...['tcp begin', 'tcp answer', 'tcp go-on', 'tcp reset', 'tcp close', 'udp', 'sctp begin', 'sctp answer'],
  ...['sctp go-on', 'icmp', 'other', 'error', 'error of nothing known', 'extension', 'truncated'],
  ...['first piece', 'later piece', 'overtaking piece', 'tagged', 'adorned', 'masqueraded outsider'],
  ...['policies change', 'cut off'],
  ...['ipv4', 'ipv6', 'xdp', 'tc'],
] as const

const CUT_OFF = /^(answers|goes on with) what \w+ policy denys/

export class FramesCoverage {
  readonly #counts = new Map<string, number>()

  #count(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  countStep({ said, from, turns }: Step, expected: readonly Expected[], { end, met }: Journey): void {
    const [first] = expected
    const isStopped = end.kind === 'dropped'
    const verdict = first?.verdict === 'either' ? 'either' : isStopped ? 'drop' : 'pass'
    this.#count(`${first?.route.path}: ${verdict}`)
    this.#count(familyOf(said.source))
    if (from === 'wire') this.#count(met[0]?.startsWith('XDP') ? 'xdp' : 'tc')
    const hasActs = said.protocol === 'tcp' || said.protocol === 'sctp'
    this.#count(hasActs ? `${said.protocol} ${said.act}` : said.protocol)
    if (isError(said) && !isOfLink(said))
      this.#count(
        expected.some(({ rulings }) => rulings.some(({ isAnswer }) => isAnswer))
          ? 'error'
          : 'error of nothing known',
      )
    if (turns) this.#count('policies change')
    if (expected.some(({ rulings }) => rulings.some(({ why }) => CUT_OFF.test(why)))) this.#count('cut off')
    if (said.hides) this.#count(said.hides)
    if (said.tag !== undefined) this.#count('tagged')
    if (said.isAdorned) this.#count('adorned')
    if (said.sourcePort >= LENT_PORTS.masquerade.first && from === 'wire') this.#count('masqueraded outsider')
    if (!said.piece) return
    const isHidden = expected.some(({ rulings }) => rulings.some(({ why }) => why.includes('hidden')))
    const isOvertaking = said.piece.which === 'later' && isHidden
    this.#count(isOvertaking ? 'overtaking piece' : `${said.piece.which} piece`)
  }

  missing(): readonly string[] {
    const wanted = [
      ...PATHS_OF_POLICY.flatMap((path) => [`${path}: pass`, `${path}: drop`]),
      ...OTHER_PATHS,
      ...KINDS,
    ]
    return wanted.filter((name) => !this.#counts.has(name))
  }

  toString(): string {
    const lines = [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1))
    return lines.map(([name, count]) => `${String(count).padStart(8)}  ${name}`).join('\n')
  }
}
