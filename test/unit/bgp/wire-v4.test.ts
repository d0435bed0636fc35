// Version 4 on the wire, byte for byte, without a gobgpd of that version: none is packaged where these tests run.
//
// wire-v4.json holds what each message is, in protobuf's JSON with GoBGP's own names, and its bytes. The bytes were made from that JSON by
// `buf convert` (the Go implementation of protobuf, which gobgpd uses too) with message definitions written down anew from GoBGP 4.8's
// own files, not with ours. So they hold our definitions and packing against an encoder and definitions that share nothing with them.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall } from '@grpc/grpc-js'
import t from 'tap'
import { openDialect } from '../../../bgp/client/calls.ts'
import { type GobgpClient, openGobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import { openTransport } from '../../../bgp/client/transport.ts'
import type { BestRoutes } from '../../../bgp/client/types.ts'
import { VERSION_4 } from '../../../bgp/client/version-4.ts'
import { GoBgpService } from '../../../bgp/proto/gobgp-v4.gen.ts'

interface Recorded {
  readonly kind: 'request' | 'answer'
  readonly call: string
  readonly hex: string
}

const RECORDED = JSON.parse(
  readFileSync(join(import.meta.dirname, 'wire-v4.json'), 'utf8'),
) as readonly Recorded[]

/** Of each call the bytes that the client sent. */
type Sent = { call: string; hex: string }[]

/** Answers with the bytes recorded for the call, or with an empty message; knows no protobuf. */
async function startByteServer(target: string, sent: Sent): Promise<Server> {
  const server = new Server()
  const same = (bytes: Buffer) => bytes
  const codecs = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  }
  const definition: Record<string, ServiceDefinition[string]> = {}
  const handlers: Record<string, unknown> = {}
  for (const { name, methodKind } of GoBgpService.methods) {
    const answers = RECORDED.filter(({ kind, call }) => kind === 'answer' && call === name)
    const bytes = answers.map(({ hex }) => Buffer.from(hex, 'hex'))
    const note = (request: Buffer) => sent.push({ call: name, hex: request.toString('hex') })
    definition[name] = {
      path: `/${GoBgpService.typeName}/${name}`,
      requestStream: methodKind === 'client_streaming',
      responseStream: methodKind === 'server_streaming',
      ...codecs,
    }
    handlers[name] = (call: ByteCall, callback: (error: null, answer: Buffer) => void) => {
      if (methodKind === 'client_streaming') {
        call.on('data', note)
        call.on('end', () => callback(null, Buffer.alloc(0)))
        return
      }
      note(call.request)
      if (methodKind === 'unary') return callback(null, bytes[0] ?? Buffer.alloc(0))
      for (const answer of bytes) call.write(answer)
      call.end()
    }
  }
  server.addService(definition, handlers as Record<string, UntypedHandleCall>)
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    )
  })
  return server
}

interface ByteCall {
  readonly request: Buffer
  on: (event: 'data' | 'end', listener: (bytes: Buffer) => void) => void
  write: (bytes: Buffer) => void
  end: () => void
}

const directory = mkdtempSync(join(tmpdir(), 'weir-wire-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
const target = `unix://${directory}/gobgpd.sock`
const sent: Sent = []
const server = await startByteServer(target, sent)
t.teardown(() => server.forceShutdown())
const client = openGobgpClient({ target })
t.teardown(() => client.close())

const transport = openTransport(target)
t.teardown(() => transport.close())
const dialect = openDialect(transport, VERSION_4)

const remote = { kind: 'address', address: '10.254.1.0' } as const
const timers = { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 }

/** In the order of the requests in the file. */
const REQUESTS: readonly [string, (client: GobgpClient) => Promise<unknown>][] = [
  [
    'paths with every attribute, a withdrawal first',
    ({ applyPaths }) =>
      applyPaths({
        withdraw: ['203.0.113.8/32'],
        announce: [
          {
            prefix: '203.0.113.7/32',
            origin: 'incomplete',
            asPath: [64512, 4200000000],
            med: 50,
            localPref: 200,
            communities: ['65101:100', '65535:0'],
            largeCommunities: ['4200000000:1:2'],
          },
          { prefix: '2001:db8:113::7/128' },
        ],
      }),
  ],
  // The client would ask first, and find that BGP runs.
  ['BGP is started, without a listener', () => dialect.startDaemon({ asn: 65101, routerId: '10.255.0.1' })],
  ['BGP is stopped so that peers keep the routes', ({ stopDaemon }) => stopDaemon(true)],
  [
    'a collector',
    ({ addBmp }) =>
      addBmp({
        address: '10.0.0.9',
        port: 11019,
        policy: 'local-rib',
        statisticsSeconds: 15,
        systemName: 'node-1',
        systemDescription: 'a node',
      }),
  ],
  [
    'a peer with every setting',
    ({ addPeer }) =>
      addPeer({
        remote,
        ...timers,
        asn: 65001,
        localAsn: 64777,
        password: 's3cret',
        description: 'tor one',
        port: 1179,
        localAddress: '10.254.1.1',
        bindInterface: 'eth0',
        passive: true,
        families: ['ipv4', 'ipv6'],
        multihopTtl: 3,
        reflectorClient: { clusterId: '10.0.0.1' },
        gracefulRestart: {
          restartSeconds: 60,
          deferralSeconds: 1,
          localRestarting: true,
          notification: true,
          longLivedSeconds: 3600,
        },
        prefixLimits: [{ family: 'ipv4', maximum: 100, warnPercent: 80 }],
      }),
  ],
  [
    'an unnumbered peer of any AS',
    ({ addPeer }) =>
      addPeer({
        remote: { kind: 'interface', interface: 'eth1' },
        linkLocal: 'fe80::1',
        ...timers,
        asn: 'any',
        port: 179,
        families: ['ipv6'],
        ttlSecurityMin: 255,
      }),
  ],
  ['a soft reset of every peer', ({ resetPeer }) => resetPeer(undefined, { kind: 'soft', direction: 'out' })],
  ['a peer is disabled', ({ disablePeer }) => disablePeer(remote, 'moving to rack 12')],
  ['the routes of a peer', ({ listRoutes }) => listRoutes({ kind: 'adj-in', peer: remote }, 'ipv4')],
  [
    'a watch of the best paths',
    ({ watchRoutes }) => watchRoutes(() => {}, new AbortController().signal).catch(() => {}),
  ],
  [
    'a set of prefixes',
    ({ addSetMembers }) =>
      addSetMembers({
        kind: 'prefix',
        name: 'vips',
        members: [{ prefix: '203.0.113.0/24', lengthMin: 32, lengthMax: 32 }],
      }),
  ],
  [
    'a set of large communities',
    ({ addSetMembers }) => addSetMembers({ kind: 'large-community', name: 'large', members: ['65101:1:2'] }),
  ],
  [
    'a policy with every condition and change',
    ({ addPolicy }) =>
      addPolicy({
        name: 'p',
        statements: [
          {
            name: 's',
            conditions: {
              prefixSet: 'vips',
              neighborSet: 'tors',
              communitySet: { name: 'c', match: 'all' },
              largeCommunitySet: { name: 'l', match: 'none' },
              routeType: 'local',
              families: ['ipv4'],
            },
            changes: {
              communities: { kind: 'replace', communities: ['65535:0'] },
              largeCommunities: { kind: 'remove', communities: ['1:2:3'] },
              med: { kind: 'add', value: -7 },
              localPref: 200,
              prepend: { asn: 65101, repeat: 2 },
              nextHop: 'self',
            },
            action: 'accept',
          },
        ],
      }),
  ],
  [
    'an assignment',
    ({ setAssignment }) => setAssignment({ direction: 'export', policies: ['p'], defaultAction: 'reject' }),
  ],
  ['an assignment that is appended', ({ appendAssignment }) => appendAssignment('export', ['p'])],
]

t.test('what is sent', async (t) => {
  t.equal((await client.probe()).apiVersion, 4)
  const recorded = RECORDED.filter(({ kind }) => kind === 'request')
  t.equal(recorded.length, REQUESTS.length)
  for (const [index, [what, make]] of REQUESTS.entries()) {
    const expected = recorded[index]
    sent.length = 0
    await make(client)
    t.equal(sent.find(({ call }) => call === expected?.call)?.hex, expected?.hex, what)
  }
})

t.test('what is answered', async (t) => {
  t.match(await client.probe(), { asn: 65101, routerId: '10.255.0.1' })
  t.match(await client.listPeers(), [
    {
      settings: {
        remote,
        asn: 65001,
        localAsn: undefined,
        description: 'tor one',
        families: ['ipv4'],
        ...timers,
      },
      status: {
        remote,
        asn: 65001,
        routerId: '10.255.250.1',
        session: 'idle',
        admin: 'prefix-limit',
        sinceMs: Date.UTC(2026, 7, 4, 12),
        holdSeconds: 9,
        families: [{ family: 'ipv4', received: 5, accepted: 4, advertised: 7 }],
        messages: {
          received: { open: 2, update: 3, keepalive: 40, notification: 1, refresh: 0, total: 46 },
          sent: { open: 2, update: 5, keepalive: 41, notification: 0, refresh: 0, total: 48 },
        },
        capabilities: {
          remote: ['extended-message', 'multi-protocol ipv4', 'route-refresh', 'software-version'],
          local: ['four-octet-asn', 'graceful-restart'],
        },
        lastError: 'notification received: cease: maximum number of prefixes reached',
        flaps: 3,
      },
    },
  ])
  const route = {
    prefix: '192.0.2.0/24',
    family: 'ipv4',
    asPath: [65001],
    nextHop: '10.254.1.0',
    neighbor: '10.254.1.0',
    sourceAsn: 65001,
    sourceId: '10.255.250.1',
    isBest: true,
    isStale: false,
    isFiltered: false,
    isNextHopInvalid: false,
    sinceMs: Date.UTC(2026, 7, 4, 12),
  }
  t.same(await client.listRoutes({ kind: 'global' }, 'ipv4'), [route])
  t.same(await client.listOwnPaths('ipv4'), [], 'it has a neighbor')
  const told: BestRoutes[] = []
  await client.watchRoutes((changes) => told.push(...changes), new AbortController().signal).catch(() => {})
  t.match(told, [
    {
      prefix: '2001:db8:1::/48',
      family: 'ipv6',
      routes: [{ nextHop: 'fe80::1', neighbor: 'fe80::1', isBest: true }],
    },
    { prefix: '192.0.2.0/24', family: 'ipv4', routes: [] },
  ])
  t.same(await client.listPolicies(), [
    { name: 'p', statements: [{ name: 's', conditions: { neighborSet: 'tors' }, action: 'reject' }] },
  ])
})
