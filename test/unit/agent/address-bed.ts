// The rack's API server, and allocators at it as agents run them, with the roles that manifests/ gives them.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { AddressAllocator, type AddressAllocatorOptions } from '../../../src/agent/address-allocator.ts'
import { CiliumSources } from '../../../src/agent/cilium-sources.ts'
import { PoolReporter } from '../../../src/agent/pool-reporter.ts'
import { RoutingSources } from '../../../src/agent/routing-sources.ts'
import { follow } from '../../../src/agent/sources.ts'
import { createKubeClient, type KubeClient } from '../../../src/kube/client.ts'
import { EventRecorder } from '../../../src/kube/events.ts'
import { EVENTS, SERVICES, type Service as ServiceObject } from '../../../src/kube/objects.ts'
import { toService } from '../../../src/kube/to-model.ts'
import type { Node, Service } from '../../../src/model/service.ts'
import type { AddressPool } from '../../../src/routing/address-pools.ts'
import type { FilePool } from '../../../src/routing/sources/file.ts'
import { AGENT_USER, grantAgentAccess } from '../../../src/sandbox/agent-access.ts'
import { builtinKinds } from '../../../src/sandbox/apiserver/kinds/index.ts'
import { equalRows } from '../../../src/tables/equal-rows.ts'
import { Table } from '../../../src/tables/table.ts'
import { fileRouting } from '../routing/sources/rows.ts'
import { removeCertificates, startServer, token } from '../sandbox/apiserver/test-server.ts'

const WAIT_MS = 15_000
const AGENT_TOKEN = 'agent-token'

export async function startBed() {
  const admin = { name: 'admin', uid: '1', groups: ['system:masters'] }
  const tokens = [
    { token, user: admin },
    { token: AGENT_TOKEN, user: AGENT_USER },
  ]
  const server = await startServer({ kinds: builtinKinds, tokens })
  await grantAgentAccess(server.server)
  const directory = mkdtempSync(join(tmpdir(), 'weir-addresses-'))
  const caFile = join(directory, 'ca.crt')
  writeFileSync(caFile, server.ca)
  const makeClient = (ownToken = AGENT_TOKEN) => {
    const tokenFile = join(directory, ownToken)
    writeFileSync(tokenFile, ownToken)
    return createKubeClient({ servers: [`https://127.0.0.1:${server.port}`], caFile, tokenFile })
  }
  const client = makeClient(token)

  const get = (name: string): Promise<ServiceObject> => client.get(SERVICES, { namespace: 'default', name })

  /** What `kubectl get` shows of it, in one line. */
  const show = async (name: string): Promise<string> => {
    const { status } = await get(name)
    const ips = (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip)
    const condition = status?.conditions?.find(({ type }) => type === 'weir.network/AddressAllocated')
    return [...ips, condition ? `${condition.status}/${condition.reason}` : '-'].join(' ')
  }

  const startAgent = async (
    nodeName: string,
    pools: () => readonly AddressPool[],
    more: Pick<AddressAllocatorOptions, 'reporter' | 'areAllPoolsKnown'> = {},
  ) => {
    const own = makeClient()
    const log = pino({ level: 'silent' })
    const services = new Table<Service>({ name: 'services', equals: equalRows })
    const common = { client: own, log, startDelayMs: 0 }
    const { watch, synced } = follow({ ...common, resource: SERVICES, project: toService, table: services })
    await synced
    const events = new EventRecorder({
      client: own,
      component: 'weir',
      host: nodeName,
      onProblem: () => {},
    })
    const allocator = new AddressAllocator({
      client: own,
      nodeName,
      pools,
      services,
      events,
      log,
      ...more,
    })
    return {
      allocator,
      close: async () => {
        await allocator.close()
        watch.close()
        own.close()
      },
    }
  }

  return {
    server,
    client,
    makeClient,
    get,
    show,
    create: (name: string, annotations: Record<string, string> = {}, spec: object = {}) =>
      client.create(SERVICES, {
        metadata: { namespace: 'default', name, annotations },
        spec: { type: 'LoadBalancer', selector: { app: name }, ports: [{ port: 80 }], ...spec },
      } as ServiceObject),
    change: (name: string, patch: object) =>
      client.patch(SERVICES, { namespace: 'default', name }, patch, { kind: 'merge' }),
    remove: (name: string) => client.delete(SERVICES, { namespace: 'default', name }),
    /** @returns what it was at last; equal to `expected` unless time ran out */
    until: async (name: string, expected: string): Promise<string> => {
      for (const untilMs = Date.now() + WAIT_MS; ; await sleep(20)) {
        const shown = await show(name)
        if (shown === expected || Date.now() > untilMs) return shown
      }
    },
    events: async (name: string): Promise<string[]> => {
      const { items } = await client.list(EVENTS, { namespace: 'default' })
      return items
        .filter(({ involvedObject }) => involvedObject.name === name)
        .map(({ type, reason, message }) => `${type} ${reason}: ${message}`)
    },
    /** With Cilium's pools as a source, and those of the file. */
    startCiliumAgent: async (
      nodeName: string,
      nodes: Table<Node>,
      { filePools = [], client: own = makeClient() }: { filePools?: FilePool[]; client?: KubeClient } = {},
    ) => {
      const log = pino({ level: 'silent' })
      let followed: RoutingSources | undefined
      const stateDirectory = mkdtempSync(join(directory, 'state-'))
      const cilium = new CiliumSources({
        ...{ client: own, log, startDelayMs: 0, stateDirectory, pollMs: 30 },
        onReadability: () => followed?.readabilityChanged(),
      })
      cilium.followAll()
      await cilium.synced
      const sources = new RoutingSources({
        nodeName,
        stateDirectory,
        config: () => ({
          routing: fileRouting('{ asn: 65101, sources: { cilium: { enabled: true } } }'),
          pools: filePools,
        }),
        nodes,
        cilium: () => cilium.objects,
        ciliumPools: () => cilium.pools.values(),
        ciliumReaders: cilium.readers(),
        ciliumProblems: () => cilium.problems,
        arePoolsUnreadable: () => cilium.arePoolsUnreadable,
        onProblem: () => {},
      })
      followed = sources
      const reporter = new PoolReporter({
        client: own,
        ciliumPools: () => new Map(cilium.pools.entries()),
        log,
      })
      const agent = await startAgent(nodeName, () => sources.pools, {
        reporter,
        areAllPoolsKnown: () => sources.areAllPoolsKnown,
      })
      sources.onChange(() => agent.allocator.poolsChanged())
      return {
        sources,
        close: async () => {
          await agent.close()
          sources.close()
          cilium.close()
          own.close()
        },
      }
    },
    startAgent,
    close: async () => {
      client.close()
      await server.close()
      await removeCertificates()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
