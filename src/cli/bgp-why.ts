// `weir bgp why`: why a prefix is announced, or is not, question by question.

import { formatTable, PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import type { Why } from '../routing/why.ts'
import type { Action } from './actions.ts'
import { type AgentOptions, askAgent, printAnswer } from './ask-agent.ts'
import { formatAttributes } from './bgp-attributes.ts'
import { UsageError } from './options.ts'

export const WHY_ACTION: Action<AgentOptions> = {
  takes: 'PREFIX',
  words: 1,
  summary: 'why an address or prefix is announced, or is not',
  about: `Every gate, rule and check in turn, with what would open those that are shut, and what each router
    is told. Exits with 0 when the prefix is announced, with 1 when it is not.`,
  example: 'weir bgp why 203.0.113.7',
  options: [],
  run: runWhy,
}

/** As grep(1): 0 when it is announced, 1 when it is not. */
async function runWhy(values: AgentOptions, [prefix]: readonly string[]): Promise<number> {
  if (prefix === undefined)
    throw new UsageError('which prefix? Mend: weir bgp why 203.0.113.7, one at a time')
  const why = await askAgent<Why>(values, `/v1/why?prefix=${encodeURIComponent(prefix)}`)
  printAnswer(values, why, formatWhy)
  return why.isAnnounced ? 0 : 1
}

export function formatWhy({ summary, checks, peers }: Why, width = PAGE_WIDTH): string {
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
  const page = { width, flexible: ['WHY', 'ATTRIBUTES'] }
  return `${[
    wrapText(summary, width, '  '),
    formatTable(['OPEN', 'CHECK', 'WHY'], rows, page),
    told.length > 0
      ? formatTable(['PEER', 'TOLD', 'ATTRIBUTES', 'WHY'], told, page)
      : 'No sessions configured: nobody could be told.',
  ].join('\n\n')}\n`
}
