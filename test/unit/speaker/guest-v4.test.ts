// A guest in a GoBGP of version 4, as kube-router 2.11 has it. No such GoBGP is at hand: a stub keeps what it is told, in version 4's own
// messages, and refuses every call that a guest has no business with.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FakeRefusal, type FakeServer, startFakeServer } from '../../../bgp/client/fake-server.ts'
import { type DefinedSet, GoBgpService, type Path, type Policy } from '../../../bgp/proto/gobgp-v4.gen.ts'
import { createSpeaker } from '../../../src/speaker/speaker.ts'
import { withdrawPaths } from '../../../src/speaker/withdraw.ts'
import { link, until } from '../bgp/bed.ts'
import { allowed, announcement, peerOf, routingOf } from './bed.ts'

const quiet = { info: () => {}, warn: () => {} }
const EXPORT = 2

/** The part of kube-router's GoBGP that a guest sees. */
class Stub {
  asn = 65101
  readonly calls: string[] = []
  sets: Pick<DefinedSet, 'name' | 'definedType' | 'list' | 'prefixes'>[] = []
  policies: Pick<Policy, 'name' | 'statements'>[] = []
  exports: string[] = []
  paths: Path[] = []
  #server: FakeServer | undefined

  /** What kube-router made itself. */
  becomeKubeRouter(): void {
    this.sets = [{ name: 'servicevipsdefinedset', definedType: 1, list: [], prefixes: [] }]
    this.policies = [{ name: 'kube_router_export1', statements: [] }]
    this.exports = ['kube_router_export1']
    this.paths = []
  }

  host(): string {
    const isTheirs = ({ name }: { name: string }) => !name.startsWith('weir-')
    const text = (rows: readonly object[]) =>
      JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))
    return text([...this.sets.filter(isTheirs), ...this.policies.filter(isTheirs)])
  }

  async start(target: string): Promise<void> {
    const done = (name: string, then: () => void): [object] => {
      this.calls.push(name)
      then()
      return [{}]
    }
    this.#server = await startFakeServer(target, GoBgpService, {
      getBgp: () => [{ global: { asn: this.asn, routerId: '10.255.0.1' } }],
      listPeer: () =>
        [1, 2].map((index) => ({
          peer: {
            conf: { neighborAddress: link(index).router4, peerAsn: 65000 + index, localAsn: this.asn },
            state: { neighborAddress: link(index).router4, sessionState: 6 },
            afiSafis: [{ config: { family: { afi: 1, safi: 1 }, enabled: true } }],
          },
        })),
      listPath: ([request]) =>
        this.paths
          .filter((path) => path.family?.afi === request?.family?.afi)
          .map((path) => ({ destination: { paths: [{ ...path, neighborIp: '<nil>' }] } })),
      addPathStream: (requests) =>
        done('AddPathStream', () => {
          for (const path of requests.flatMap(({ paths }) => paths)) {
            const key = JSON.stringify(path.nlri)
            this.paths = this.paths.filter((one) => JSON.stringify(one.nlri) !== key)
            if (!path.isWithdraw) this.paths.push(path)
          }
        }),
      listDefinedSet: ([request]) =>
        this.sets
          .filter(({ definedType }) => definedType === request?.definedType)
          .map((definedSet) => ({ definedSet })),
      addDefinedSet: ([request]) =>
        done('AddDefinedSet', () => {
          const added = request?.definedSet
          const known = this.sets.find(({ name }) => name === added?.name)
          if (known) known.list.push(...(added?.list ?? []))
          else if (added) this.sets.push(added)
        }),
      deleteDefinedSet: ([request]) =>
        done('DeleteDefinedSet', () => {
          if (request?.all) this.sets = this.sets.filter(({ name }) => name !== request.definedSet?.name)
        }),
      listPolicy: () => this.policies.map((policy) => ({ policy })),
      addPolicy: ([request]) =>
        done('AddPolicy', () => request?.policy && this.policies.push(request.policy)),
      deletePolicy: ([request]) =>
        done('DeletePolicy', () => {
          this.policies = this.policies.filter(({ name }) => name !== request?.policy?.name)
        }),
      listPolicyAssignment: () => [
        {
          assignment: {
            name: 'global',
            direction: EXPORT,
            policies: this.exports.map((name) => ({ name })),
            defaultAction: 2,
          },
        },
      ],
      addPolicyAssignment: ([request]) =>
        done('AddPolicyAssignment', () =>
          this.exports.push(...(request?.assignment?.policies ?? []).map(({ name }) => name)),
        ),
      deletePolicyAssignment: ([request]) =>
        done('DeletePolicyAssignment', () => {
          const gone = (request?.assignment?.policies ?? []).map(({ name }) => name)
          this.exports = this.exports.filter((name) => !gone.includes(name))
        }),
      resetPeer: () => done('ResetPeer', () => {}),
      watchEvent: () => new Promise<never>(() => {}),
      startBgp: () => {
        throw new FakeRefusal(7, 'a guest starts nothing')
      },
    })
  }

  async stop(): Promise<void> {
    await this.#server?.close()
  }
}

t.test('as a guest of a kube-router with version 4', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-guest-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const target = `unix://${join(directory, 'gobgp.sock')}`
  const stub = new Stub()
  stub.becomeKubeRouter()
  await stub.start(target)
  t.teardown(() => stub.stop())
  const before = stub.host()
  const speaker = createSpeaker({ gobgpSocket: target, host: 'kube-router', log: quiet })
  t.teardown(() => speaker.close())
  speaker.setRouting(routingOf([peerOf('tor1', link(1).router4)]), allowed)
  speaker.setDesired([announcement('203.0.113.7/32', ['65101:5']), announcement('2001:db8:113::7/128')])
  const isOut = () => stub.paths.length === 2 && stub.exports.length === 2

  await t.test('adds its paths and one policy, and nothing else', async (t) => {
    await until('out', isOut)
    t.match(stub.exports, ['kube_router_export1', /^weir-/])
    t.equal(stub.host(), before)
    const names = new Set(stub.calls)
    for (const name of ['AddPathStream', 'AddDefinedSet', 'AddPolicy', 'AddPolicyAssignment'])
      names.delete(name)
    t.same([...names], [])
    const [own] = stub.policies.filter(({ name }) => name.startsWith('weir-'))
    t.ok(
      own?.statements.every(
        ({ conditions }) => conditions?.neighborSet?.name && conditions.largeCommunitySet?.name,
      ),
    )
    await until('told', async () =>
      (await speaker.status()).announcements.every(({ status }) => status.kind === 'announced'),
    )
  })

  await t.test('replays after its restart, once BGP is started there', async (t) => {
    await stub.stop()
    stub.becomeKubeRouter()
    stub.asn = 0
    await stub.start(target)
    await until('waiting', async () => /has not started it/.test((await speaker.status()).error ?? ''))
    t.equal(stub.paths.length, 0)
    stub.asn = 65101
    await until('out again', isOut)
    t.equal(stub.host(), before)
  })

  await t.test('leaves without a trace', async (t) => {
    await speaker.close()
    await withdrawPaths({ target, host: 'kube-router', chosen: () => true, isDryRun: false })
    t.same([stub.paths, stub.exports], [[], ['kube_router_export1']])
    t.equal(stub.sets.length + stub.policies.length, 2)
    t.equal(stub.host(), before)
  })
})
