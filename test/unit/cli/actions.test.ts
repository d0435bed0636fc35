// Commands of several actions: each has its help with an example, lists only options that there are, and refuses those of another.

import t from 'tap'
import { type ActionSet, helpOf, runAction } from '../../../src/cli/actions.ts'
import { pageWidth } from '../../../src/cli/ask-agent.ts'
import { BGP_ACTIONS } from '../../../src/cli/bgp.ts'
import { FLOW_ACTIONS } from '../../../src/cli/flow.ts'
import { SERVICE_ACTIONS } from '../../../src/cli/service.ts'

for (const { command, options, actions } of [BGP_ACTIONS, FLOW_ACTIONS, SERVICE_ACTIONS] as const)
  for (const [name, action] of Object.entries(actions))
    t.test(`${command} ${name} --help`, async (t) => {
      const help = helpOf(command, name, action as never)
      t.equal(help.match(/^Example: /gm)?.length, 1, help)
      t.match(help, new RegExp(`^Example: ${command} ${name}( |$)`, 'm'))
      t.match(help, /^Usage: [^\n]+\n\n[A-Z][^\n]+\n/, 'it says what is shown or done')
      t.match(help, /\n {2}-o json +as JSON\n/)
      t.strictSame(
        help.split('\n').filter((line) => line.length > 120),
        [],
      )
      for (const option of action.options) {
        const one = (options as Record<string, { short?: string }>)[option]
        t.ok(one, `--${option} is an option`)
        t.match(
          help,
          new RegExp(`--${option}\\b${one?.short ? `|-${one.short}\\b` : ''}`),
          `it tells of --${option}`,
        )
      }
    })

const seen: string[][] = []
const OPTIONS = {
  size: { type: 'string' },
  colour: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const
const SET: ActionSet<typeof OPTIONS> = {
  command: 'weir paint',
  options: OPTIONS,
  actions: {
    wall: {
      ...{ takes: '[WALL]', words: 1, summary: 'a wall', about: 'Paints it.', example: 'weir paint wall' },
      options: ['colour'],
      run: async ({ colour = '' }, words) => {
        seen.push([colour, ...words])
        return 3
      },
    },
  },
}

t.test('an action gets its options and words, and says how it went', async (t) => {
  t.equal(await runAction(SET, ['wall', 'north', '--colour', 'blue']), 3)
  t.strictSame(seen, [['blue', 'north']])
})

const MISTAKES = [
  [['wal'], "no such action 'wal'. Mend: did you mean wall"],
  [
    ['wall', '--color', 'red'],
    "no such option '--color'. Mend: did you mean --colour; 'weir paint --help' tells more.",
  ],
  [
    ['wall', '--size', '3'],
    /^'wall' takes no --size\. Mend: its options are --colour, .*'weir paint wall --help'/,
  ],
  [['wall', 'a', 'b'], "'b' is one word too many. Mend: 'weir paint wall --help' tells more"],
] as const

t.test('a mistake is met with what was meant', async (t) => {
  for (const [args, message] of MISTAKES)
    await t.rejects(runAction(SET, args), { code: 'bad-usage', message }, args.join(' '))
  t.equal(seen.length, 1)
})

const REAL_MISTAKES = [
  [BGP_ACTIONS, ['peers', '--detial'], /no such option '--detial'. Mend: did you mean --detail;/],
  [BGP_ACTIONS, ['peers', '--confirm', '3s'], /'peers' takes no --confirm. Mend: its options are --detail, /],
  [FLOW_ACTIONS, ['get', '--servce', 'a/b'], /no such option '--servce'. Mend: did you mean --service;/],
  [SERVICE_ACTIONS, ['lst'], /no such action 'lst'. Mend: did you mean list$/],
  [SERVICE_ACTIONS, ['show'], /which Service\? Mend: weir service show NAMESPACE\/NAME/],
] as const

t.test('so it is with the real ones, before an agent is asked', async (t) => {
  for (const [set, args, message] of REAL_MISTAKES)
    await t.rejects(runAction(set as ActionSet<never>, args), { code: 'bad-usage', message }, args.join(' '))
})

t.test('a page is as wide as the terminal, and a pipe as a page', async (t) => {
  t.equal(pageWidth({ isTTY: true, columns: 97 }), 97)
  t.equal(pageWidth({ isTTY: true, columns: 0 }), 120)
  t.equal(pageWidth({}), 120)
})
