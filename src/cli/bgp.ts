// `weir bgp`: this node's routing, seen and changed. A file for each kind of question: bgp-peers.ts, bgp-routes.ts, bgp-why.ts,
// bgp-config.ts, bgp-router-config.ts.

import { type ActionSet, runAction } from './actions.ts'
import { AGENT_OPTIONS } from './ask-agent.ts'
import { BGP_CONFIG_OPTIONS, CONFIG_ACTIONS } from './bgp-config.ts'
import { PEERS_ACTION, PEERS_OPTIONS } from './bgp-peers.ts'
import { ROUTER_CONFIG_ACTION, ROUTER_CONFIG_OPTIONS } from './bgp-router-config.ts'
import { ROUTE_ACTIONS } from './bgp-routes.ts'
import { WHY_ACTION } from './bgp-why.ts'
import type { Command } from './main.ts'

const OPTIONS = { ...AGENT_OPTIONS, ...PEERS_OPTIONS, ...BGP_CONFIG_OPTIONS, ...ROUTER_CONFIG_OPTIONS }

export const BGP_ACTIONS: ActionSet<typeof OPTIONS> = {
  command: 'weir bgp',
  options: OPTIONS,
  actions: {
    peers: PEERS_ACTION,
    ...ROUTE_ACTIONS,
    why: WHY_ACTION,
    ...CONFIG_ACTIONS,
    'router-config': ROUTER_CONFIG_ACTION,
  },
}

export const bgpCommand: Command = {
  summary: "this node's routing: sessions, routes, changes and their trial, the routers' side",
  run: (args) => runAction(BGP_ACTIONS, args),
}
