// `weir bgp why`: why a prefix is announced, or is not, question by question.

import { formatTable } from '../model/text-table.ts'
import type { Why } from '../routing/why.ts'
import { askAgent, printAnswer } from './ask-agent.ts'
import { formatAttributes } from './bgp-config.ts'
import { UsageError } from './options.ts'

interface Options {
  readonly socket?: string | undefined
  readonly output?: string | undefined
}

/** As grep(1): 0 when it is announced, 1 when it is not. */
export async function runWhy(values: Options, words: readonly string[]): Promise<number> {
  const [prefix, ...more] = words
  if (prefix === undefined || more.length > 0)
    throw new UsageError('which prefix? Mend: weir bgp why 203.0.113.7, one at a time')
  const why = await askAgent<Why>(values, `/v1/why?prefix=${encodeURIComponent(prefix)}`)
  printAnswer(values, why, formatWhy)
  return why.isAnnounced ? 0 : 1
}

export function formatWhy({ summary, checks, peers }: Why): string {
  const rows = checks.flatMap(({ check, isOpen, detail, mend }) => [
    [isOpen ? 'yes' : 'NO', check, detail],
    ...(mend === undefined || isOpen ? [] : [['', '', `Mend: ${mend}`]]),
  ])
  const told = peers.map(({ peer, isTold, attributes, detail }) => [
    peer,
    isTold ? 'yes' : 'no',
    attributes === undefined ? '' : formatAttributes(attributes),
    detail,
  ])
  return `${[
    summary,
    formatTable(['OPEN', 'CHECK', 'BECAUSE'], rows),
    ...(told.length > 0 ? [formatTable(['PEER', 'TOLD', 'ATTRIBUTES', 'BECAUSE'], told)] : []),
  ].join('\n\n')}\n`
}
