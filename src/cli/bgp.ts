// `weir bgp`: this node's routing. Changing it is in bgp-config.ts.

import { AGENT_OPTIONS, AGENT_OPTIONS_HELP } from './ask-agent.ts'
import { BGP_CONFIG_OPTIONS, BGP_CONFIG_USAGE, CONFIG_ACTIONS } from './bgp-config.ts'
import { ROUTER_CONFIG_OPTIONS, ROUTER_CONFIG_USAGE, runRouterConfig } from './bgp-router-config.ts'
import type { Command } from './main.ts'
import { didYouMean, parseOptions, UsageError } from './options.ts'

const USAGE = `${BGP_CONFIG_USAGE}
${ROUTER_CONFIG_USAGE}
${AGENT_OPTIONS_HELP}`

const ACTIONS = { ...CONFIG_ACTIONS, 'router-config': runRouterConfig }

export const bgpCommand: Command = {
  summary: "this node's routing: what a change would do, and its trial",
  run: async (args) => {
    const { values, positionals } = parseOptions('weir bgp', args, {
      ...AGENT_OPTIONS,
      ...BGP_CONFIG_OPTIONS,
      ...ROUTER_CONFIG_OPTIONS,
    })
    const [action = '', ...rest] = positionals
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    const run = Object.hasOwn(ACTIONS, action) ? ACTIONS[action as keyof typeof ACTIONS] : undefined
    if (run === undefined)
      throw new UsageError(`no such action '${action}'. Mend: ${didYouMean(action, Object.keys(ACTIONS))}`)
    if (rest.length > 0)
      throw new UsageError(`'${rest[0]}' is one word too many. Mend: 'weir bgp --help' tells more`)
    return run(values)
  },
}
