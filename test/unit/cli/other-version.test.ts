// A command against an agent of another version: a sentence, and never a crash.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { serveLocalApi } from '../../../src/agent/local-api.ts'
import { weirVersion } from '../../../src/agent/version.ts'
import { peersAnswer, routesAnswer, statusAnswer } from '../../../src/cli/answers.ts'
import { askAgent } from '../../../src/cli/ask-agent.ts'
import { formatPeerDetails, formatPeers, formatWidePeers } from '../../../src/cli/bgp-peers.ts'
import { formatRoutes } from '../../../src/cli/bgp-routes.ts'
import { otherVersion } from '../../../src/cli/other-version.ts'
import { formatStatus } from '../../../src/cli/status.ts'
import { PEERS, peer, ROUTES, STATUS } from './answers.ts'

function socketIn(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'api-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  return join(directory, 'agent.sock')
}

/** An agent of the time before agents told their version. */
async function oldAgent(t: Test, answer: unknown): Promise<string> {
  const socket = socketIn(t)
  const server = createServer((_, response) => response.end(JSON.stringify(answer)))
  t.teardown(() => server.close().closeAllConnections())
  await once(server.listen(socket), 'listening')
  return socket
}

t.test('an older agent, whose answer lacks something', async (t) => {
  const { drain: _, ...rest } = STATUS
  const socket = await oldAgent(t, { ...rest, flows: {} })
  await t.rejects(askAgent({ socket }, '/v1/status', statusAnswer), {
    code: 'OTHER_VERSION',
    message: new RegExp(
      `^the agent is older than this command \\(${weirVersion()}\\): its answer lacks 'flows.refused', 'drain'\\. Mend: restart`,
    ),
  })
  const asJson = await askAgent<typeof rest>({ socket, output: 'json' }, '/v1/status', statusAnswer)
  t.equal(asJson.node, STATUS.node, 'as JSON it is shown all the same')
})

t.test('an agent that answers otherwise, or not at all', async (t) => {
  const socket = socketIn(t)
  const server = await serveLocalApi(socket, { '/v1/bgp/peers': () => ({ ...PEERS, peers: 'many' }) })
  t.teardown(() => server.close().closeAllConnections())
  await t.rejects(askAgent({ socket }, '/v1/bgp/peers', peersAnswer), {
    code: 'OTHER_VERSION',
    message:
      /^the agent is older or newer than this command \(both .*\): it answers otherwise at 'peers'\. Mend/,
  })
  await t.rejects(askAgent({ socket }, '/v1/bgp/routes?x=1', routesAnswer), {
    code: 'OTHER_VERSION',
    message: /: it has no \/v1\/bgp\/routes\. Mend/,
  })
})

t.test('which of two versions is the older', async (t) => {
  const cases = [
    ['1.2.3', '1.10.0', 'the agent (1.2.3) is older than this command (1.10.0): x'],
    ['2.0.0', '1.10.0', 'the agent (2.0.0) is newer than this command (1.10.0): x'],
    ['1.2.3', '1.2.3', 'the agent is older or newer than this command (both call themselves 1.2.3): x'],
    [undefined, '1.2.3', 'the agent is older than this command (1.2.3): x'],
  ] as const
  for (const [agent, own, expected] of cases)
    t.ok(otherVersion(agent, own, 'x').startsWith(expected), expected)
})

/** The answer as it comes, and copies that lack one field each, however deep. */
function* withoutEach(value: unknown): Generator<unknown> {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const [index, one] of value.entries())
      for (const less of withoutEach(one)) yield value.with(index, less)
    return
  }
  for (const [key, one] of Object.entries(value)) {
    const { [key]: _, ...rest } = value as Record<string, unknown>
    yield rest
    for (const less of withoutEach(one)) yield { ...value, [key]: less }
  }
}

/** With a row in each of their tables. */
const FULL_STATUS = {
  ...STATUS,
  neighbours: [{ kind: 'xdp-program', where: 'eth0', what: 'another program', mend: 'take it away' }],
  sysctls: [{ name: 'net.ipv4.ip_forward', value: '0', needed: '1', problem: 'read-only' }],
}
const COUNTS = { total: 2, open: 1, update: 0, keepalive: 1, notification: 0, refresh: 0 }
const FULL_PEERS = {
  ...PEERS,
  peers: [
    ...PEERS.peers,
    peer('tor3', { cause: 'no carrier', messages: { sent: COUNTS, received: COUNTS } }),
  ],
  drain: { phase: 'waiting', message: 'traffic goes on' },
  problems: [{ code: 'peer-silent', object: 'routing.peers[0]', text: 'tor1 is silent' }],
}

const PAGES = [
  ['status', FULL_STATUS, statusAnswer, (answer: never) => formatStatus(answer)],
  [
    'peers',
    FULL_PEERS,
    peersAnswer,
    (answer: never) =>
      [formatPeers, formatWidePeers, formatPeerDetails].map((page) => page(answer, 0)).join(),
  ],
  [
    'routes',
    ROUTES,
    routesAnswer,
    (answer: never) => formatRoutes(answer, 0) + formatRoutes(answer, 0, { isWide: true }),
  ],
] as const

for (const [name, answer, schema, format] of PAGES)
  t.test(`${name}: whatever field an agent lacks, it is told or done without`, async (t) => {
    const whole: unknown = JSON.parse(JSON.stringify(answer))
    t.ok(schema.safeParse(whole).success, 'an answer of this version is taken')
    let refused = 0
    let taken = 0
    for (const less of withoutEach(whole)) {
      if (!schema.safeParse(less).success) {
        refused += 1
        continue
      }
      taken += 1
      let text = ''
      try {
        text = format(less as never)
      } catch (error) {
        t.fail(`${error} without a field: ${JSON.stringify(less)}`)
      }
      if (/undefined|NaN/.test(text)) t.fail(`shown as ${text}`)
    }
    t.ok(refused > 5 && taken > 5, `${refused} ${taken}`)
  })
