// What the commands read of the agent's answers. An answer that lacks any of it is of an agent of another version, and is told so
// (other-version.ts). What an agent says beyond it is nobody's concern here; what a page can do without is optional, so that the newer
// command goes on with the agent that is not upgraded yet.

import { z } from 'zod'

const text = z.string()
const count = z.number()
const flag = z.boolean()
const texts = z.array(text)
/** JSON has null where a list has a gap. */
const gaps = z.array(text.nullable())

const drain = z.looseObject({ phase: text, message: text })

const configuration = z.looseObject({
  file: z.looseObject({
    file: text,
    refused: z.looseObject({ atMs: count, message: text }).optional(),
    waitForRestart: texts,
  }),
  candidate: z.looseObject({ deadlineMs: count.optional() }).optional(),
  waitForRestart: z.array(z.looseObject({ by: text, keys: texts })).optional(),
  sources: z.array(z.looseObject({ source: text, state: text, detail: text })),
  problems: z.array(z.looseObject({ source: text, why: text })),
})

const uplink = z.looseObject({
  name: text,
  isUp: flag,
  hook: text.optional(),
  mtu: count,
  gateways: gaps,
  problem: text.optional(),
  reason: text.optional(),
})

const defaultRoute = z.looseObject({
  family: text,
  mode: text,
  hops: texts,
  absent: z.array(z.looseObject({ way: text, why: text })),
  problem: text.optional(),
})

const fill = z.looseObject({
  map: text,
  used: count,
  capacity: count,
  knob: text.optional(),
  isNearlyFull: flag,
  memoryBytes: count,
})

export const statusAnswer = z.looseObject({
  node: text,
  synced: flag,
  allocatesAddresses: flag,
  pods: z.array(z.unknown()),
  flows: z.looseObject({ byState: z.record(text, count).optional(), refused: count }),
  memory: z.looseObject({ agentAnonymousBytes: count, mapsBytes: count }),
  drain,
  sessions: z
    .array(z.looseObject({ peer: text, address: text, state: text, why: text.optional() }))
    .optional(),
  configuration,
  uplinks: z.array(uplink),
  defaultRoutes: z.array(defaultRoute),
  programs: z.array(z.looseObject({ hook: text, program: text, programId: count, device: text.optional() })),
  sources: z.record(text, z.looseObject({ phase: text, rows: count, lastError: text.optional() })),
  lackingRules: z.array(z.looseObject({ rule: text, where: text, sinceMs: count })).optional(),
  policyProblems: z.array(text).optional(),
  fills: z.array(fill),
  features: z.array(z.looseObject({ name: text, isPresent: flag, since: text, instead: text })),
  neighbours: z.array(z.looseObject({ where: text, what: text, mend: text })),
  sysctls: z.array(
    z.looseObject({ name: text, value: text.optional(), needed: text, problem: text.optional() }),
  ),
})

const peerSettings = z.looseObject({
  timers: z.looseObject({ holdSeconds: count, keepaliveSeconds: count, connectRetrySeconds: count }),
  port: count,
  localAddress: text.optional(),
  hasPassword: flag,
  multihopTtl: count.optional(),
  ttlSecurityMin: count.optional(),
  gracefulRestart: z.looseObject({ restartSeconds: count, longLivedSeconds: count.optional() }).optional(),
  bfd: z.looseObject({ intervalMs: count, multiplier: count }).optional(),
})

const messages = z.looseObject({
  total: count,
  open: count,
  update: count,
  keepalive: count,
  notification: count,
  refresh: count,
})

const peer = z.looseObject({
  name: text,
  source: text.optional(),
  address: text,
  asn: z.union([count, text]),
  localAsn: count,
  state: text,
  isAdminDown: flag,
  sinceMs: count.optional(),
  flaps: count,
  families: z.array(
    z.looseObject({ family: text, received: count, accepted: count, advertised: count, wanted: count }),
  ),
  taken: count,
  bfd: z.looseObject({ state: text, detail: text.optional() }).optional(),
  cause: text.optional(),
  lastError: text.optional(),
  routerId: text,
  negotiatedHoldSeconds: count,
  capabilities: z.looseObject({ local: texts, remote: texts }),
  messages: z.looseObject({ sent: messages, received: messages }).optional(),
  settings: peerSettings.optional(),
})

export const peersAnswer = z.looseObject({
  node: text,
  asn: count,
  routerId: text,
  gobgpd: z.looseObject({ isConnected: flag, apiVersion: count.optional(), error: text.optional() }),
  drain: drain.optional(),
  peers: z.array(peer),
  collectors: z.array(z.looseObject({ address: text, port: count, upSinceMs: count.optional() })),
  problems: z.array(z.looseObject({ object: text, text })),
})

const attributes = z.looseObject({
  communities: texts,
  largeCommunities: texts,
  localPref: count.optional(),
  med: count.optional(),
  prepend: count,
})

export const routesAnswer = z.looseObject({
  routes: z.array(
    z.looseObject({
      prefix: text,
      family: text,
      source: text,
      status: text,
      sinceMs: count.optional(),
      exports: z.array(z.looseObject({ peers: texts, attributes })),
      why: text,
      problem: text.optional(),
      mend: text.optional(),
    }),
  ),
  draining: text.optional(),
})
