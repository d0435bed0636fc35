// `weir bgp`: this node's routing, seen and changed. A file for each kind of question: bgp-peers.ts, bgp-routes.ts, bgp-why.ts,
// bgp-config.ts, bgp-router-config.ts.

import { AGENT_OPTIONS } from './ask-agent.ts'
import { BGP_CONFIG_OPTIONS, BGP_CONFIG_USAGE, CONFIG_ACTIONS } from './bgp-config.ts'
import { runPeers } from './bgp-peers.ts'
import { ROUTER_CONFIG_OPTIONS, ROUTER_CONFIG_USAGE, runRouterConfig } from './bgp-router-config.ts'
import { runAdvertised, runReceived, runRoutes } from './bgp-routes.ts'
import { runWhy } from './bgp-why.ts'
import type { Command } from './main.ts'
import { didYouMean, parseOptions, UsageError } from './options.ts'

const USAGE = `Usage: weir bgp peers [PEER…]
       weir bgp routes [PREFIX|STATUS…]
       weir bgp advertised [PEER]
       weir bgp received [PEER]
       weir bgp why PREFIX

  peers            sessions with routers: state, since when, prefixes in and out by family, BFD, the last error
  routes           what this node announces, waits to announce, withdraws or refuses, to whom, with which attributes, and why.
                   Beginnings of prefixes, or a status (announced, pending, withdrawing, refused, error), narrow it
  advertised       what each router, or one by its name or address, is told
  received         what it tells, and what becomes of it
  why              why an address or prefix is announced, or is not: every gate, rule and check in turn, and each router

  -o wide          more columns: router id, flaps, timers, MD5, TTL, graceful restart, capabilities, source; attributes by peer

${BGP_CONFIG_USAGE}
${ROUTER_CONFIG_USAGE}
  -o json          as JSON
  --socket PATH    the agent's socket (default: $WEIR_SOCKET, else /run/weir/agent.sock)
`

const OPTIONS = { ...AGENT_OPTIONS, ...BGP_CONFIG_OPTIONS, ...ROUTER_CONFIG_OPTIONS }

type Values = ReturnType<typeof parseOptions<typeof OPTIONS>>['values']

/** With the words after the action. */
const VIEWS: Readonly<Record<string, (values: Values, words: readonly string[]) => Promise<number>>> = {
  peers: runPeers,
  routes: runRoutes,
  advertised: runAdvertised,
  received: runReceived,
  why: runWhy,
}
/** Without. */
const DEEDS: Readonly<Record<string, (values: Values) => Promise<number>>> = {
  ...CONFIG_ACTIONS,
  'router-config': runRouterConfig,
}

export const bgpCommand: Command = {
  summary: "this node's routing: sessions, routes, changes and their trial, the routers' side",
  run: async (args) => {
    const { values, positionals } = parseOptions('weir bgp', args, OPTIONS)
    const [action = '', ...words] = positionals
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    if (Object.hasOwn(VIEWS, action)) return (await VIEWS[action]?.(values, words)) ?? 0
    if (!Object.hasOwn(DEEDS, action)) {
      const known = [...Object.keys(VIEWS), ...Object.keys(DEEDS)]
      throw new UsageError(`no such action '${action}'. Mend: ${didYouMean(action, known)}`)
    }
    if (words.length > 0)
      throw new UsageError(`'${words[0]}' is one word too many. Mend: 'weir bgp --help' tells more`)
    return (await DEEDS[action]?.(values)) ?? 0
  },
}
