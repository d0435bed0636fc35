// The client against a server that misbehaves on purpose. What a well-behaved gobgpd does is in test/unit/speaker.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { create, toBinary } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { FakeRefusal, startFakeServer } from '../../../bgp/client/fake-server.ts'
import { openGobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import { packAnnouncement } from '../../../bgp/client/pack-path.ts'
import type { BestRoutes } from '../../../bgp/client/types.ts'
import { checkPath } from '../../../bgp/client/validate-path.ts'
import { VERSION_3 } from '../../../bgp/client/version-3.ts'
import { GobgpApi, PathSchema } from '../../../bgp/proto/gobgp-v3.gen.ts'
import { GoBgpService } from '../../../bgp/proto/gobgp-v4.gen.ts'

const directory = mkdtempSync(join(tmpdir(), 'weir-client-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
let sockets = 0
const newTarget = () => `unix://${directory}/${sockets++}.sock`
const open = (target: string) => {
  const client = openGobgpClient({ target })
  t.teardown(() => client.close())
  return client
}

t.test('nobody answers, then somebody does', async (t) => {
  const target = newTarget()
  const client = open(target)
  await t.rejects(client.probe(), { code: 'UNAVAILABLE' })
  await t.rejects(client.waitUntilReady(AbortSignal.timeout(50)), { code: 'CLOSED' })
  const waiting = client.waitUntilReady(AbortSignal.timeout(5_000))
  const server = await startFakeServer(target, GobgpApi, {
    getBgp: () => [{ global: { asn: 65101, routerId: '10.0.0.1' } }],
  })
  t.same(await waiting, { asn: 65101, routerId: '10.0.0.1', apiVersion: 3 })
  await server.close()
})

t.test('something else than gobgpd is named as such', async (t) => {
  const server = await startFakeServer(newTarget(), { ...GobgpApi, typeName: 'api.Other' } as never, {})
  const client = open(server.target)
  await t.rejects(client.probe(), { code: 'UNSUPPORTED_VERSION', message: /Mend: run gobgpd 3\.10 or later/ })
  await t.rejects(client.listPeers(), { code: 'UNSUPPORTED_VERSION' })
  await server.close()
})

t.test('an upgrade behind the same socket is noticed, and the call made in the new way', async (t) => {
  const target = newTarget()
  const client = open(target)
  const daemon = () => [{ global: { asn: 65101, routerId: '10.0.0.1' } }]
  const three = await startFakeServer(target, GobgpApi, { getBgp: daemon, listPolicy: () => [] })
  t.equal((await client.probe()).apiVersion, 3)
  t.same(await client.listPolicies(), [])
  await t.rejects(client.stopDaemon(true), { code: 'UNSUPPORTED', message: /3\.x cannot stop/ })
  await three.close()
  const stops: boolean[] = []
  const four = await startFakeServer(target, GoBgpService, {
    getBgp: daemon,
    stopBgp: ([request]) => {
      stops.push(request?.allowGracefulRestart ?? false)
      return [{}]
    },
    listPolicy: () => [{ policy: { name: 'p' } }],
  })
  await client.waitUntilReady(AbortSignal.timeout(5_000))
  t.same(await client.listPolicies(), [{ name: 'p', statements: [] }])
  await client.stopDaemon(true)
  t.same(stops, [true])
  t.equal((await client.probe()).apiVersion, 4)
  const unnumbered = {
    remote: { kind: 'interface', interface: 'eth1' },
    asn: 'any',
    families: ['ipv6'],
    port: 179,
  } as const
  const timers = { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 }
  await t.rejects(client.addPeer({ ...unnumbered, ...timers }), {
    code: 'UNSUPPORTED',
    message: /Mend: give/,
  })
  await four.close()
})

t.test('a refusal carries the words of gobgpd', async (t) => {
  const refuse = () => Promise.reject(new FakeRefusal(status.UNKNOWN, 'no such set'))
  const server = await startFakeServer(newTarget(), GobgpApi, {
    getBgp: () => [{}],
    addPolicy: refuse,
    listPath: refuse,
    addPathStream: refuse,
  })
  const client = open(server.target)
  await t.rejects(client.addPolicy({ name: 'p', statements: [] }), {
    code: 'REFUSED',
    message: /no such set/,
  })
  await t.rejects(client.listOwnPaths('ipv4'), { code: 'REFUSED', message: /no such set/ })
  const changes = { withdraw: ['203.0.113.7/32'], announce: [] }
  await t.rejects(client.applyPaths(changes), { code: 'REFUSED', message: /no such set/ })
  await server.close()
})

t.test(
  'paths travel in batches, withdrawals first, and nothing is sent of a set with one bad path',
  async (t) => {
    const seen: boolean[][] = []
    const server = await startFakeServer(newTarget(), GobgpApi, {
      getBgp: () => [{}],
      addPathStream: (requests) => {
        seen.push(...requests.map(({ paths }) => paths.map((path) => path.isWithdraw)))
        return [{}]
      },
    })
    const client = open(server.target)
    const announce = Array.from({ length: 450 }, (_, index) => ({
      prefix: `10.0.${index >> 8}.${index & 255}/32`,
    }))
    await client.applyPaths({ withdraw: ['203.0.113.7/32'], announce })
    t.same(
      seen.map((batch) => batch.length),
      [200, 200, 51],
    )
    t.same(seen.flat().indexOf(true), 0)
    t.equal(seen.flat().filter(Boolean).length, 1)
    const bad = [...announce, { prefix: '203.0.113.9' }]
    await t.rejects(client.applyPaths({ withdraw: [], announce: bad }), { code: 'INVALID_PATH' })
    await t.rejects(client.applyPaths({ withdraw: ['::/0'], announce }), { code: 'INVALID_PATH' })
    await client.applyPaths({ withdraw: [], announce: [] })
    t.equal(seen.length, 3)
    await server.close()
  },
)

t.test('a watch rejects when the stream ends, and when the caller gives up', async (t) => {
  const server = await startFakeServer(newTarget(), GobgpApi, { getBgp: () => [{}], watchEvent: () => [] })
  const client = open(server.target)
  await t.rejects(
    client.watchPeers(() => {}, new AbortController().signal),
    { code: 'UNAVAILABLE' },
  )
  await t.rejects(
    client.watchPeers(() => {}, AbortSignal.abort()),
    { code: 'CLOSED' },
  )
  await server.close()
})

t.test(
  'a watch reads a long first message a few paths at a time, in order, and stops when it is told to',
  async (t) => {
    const path = (index: number, isWithdraw: boolean, nextHop: string) => {
      const text = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/32`
      const announced = packAnnouncement(VERSION_3, {
        path: { prefix: text, nextHop },
        prefix: checkPath({ prefix: text }),
      })
      return toBinary(PathSchema, create(PathSchema, { ...announced, isWithdraw, neighborIp: '10.254.1.0' }))
    }
    // More than the 4 MiB that gRPC takes by default, and each prefix by two routers.
    const prefixes = 8_000
    const all = Array.from({ length: 2 * prefixes }, (_, index) =>
      path(index >> 1, false, `10.254.${index & 1}.1`),
    )
    const server = await startFakeServer(newTarget(), GobgpApi, {
      getBgp: () => [{}],
      watchEvent: () => [
        { event: { case: 'table', value: { paths: all } } },
        { event: { case: 'table', value: { paths: [path(7, true, '0.0.0.0')] } } },
      ],
    })
    const client = open(server.target)
    const told: BestRoutes[] = []
    let turns = 0
    const counter = setInterval(() => {
      turns += 1
    })
    await t.rejects(
      client.watchRoutes((changes) => told.push(...changes), new AbortController().signal),
      { code: 'UNAVAILABLE' },
    )
    clearInterval(counter)
    t.equal(told.length, prefixes + 1)
    t.ok(told.slice(0, prefixes).every(({ routes }) => routes.length === 2))
    t.match(told.at(-1), { prefix: '10.0.0.7/32', routes: [] })
    t.ok(turns > 10, `${turns} timers fired in between`)

    const stop = new AbortController()
    let calls = 0
    await t.rejects(
      client.watchRoutes(() => {
        calls += 1
        stop.abort()
      }, stop.signal),
      { code: 'CLOSED' },
    )
    await sleep(50)
    t.equal(calls, 1)
    await server.close()
  },
)
