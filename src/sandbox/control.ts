// The rack's control process: the embedded API server and the small controllers, one process per rack, in the machine's own
// network namespace. `node src/sandbox/control.ts --rack NAME` reads everything else from the rack's state file.
//
// The API server listens on 127.0.0.1:PORT here, for kubectl, and on the same address and port inside every node's namespace,
// as a node-local proxy to the API would give: those sockets are made inside by a short visit, and made anew when a node's
// namespace was.
//
// Order: certificates, tokens, server, the agents' roles, listeners, then the files that clients wait for, then controllers. On SIGTERM controllers
// stop, the snapshot is written, the server closes; pods run on, and the next control process adopts them.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { createKubeClient, type KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { SERVICE_CIDRS } from '../kube/objects.ts'
import { listenTcpIn } from '../sys/libc/sockets.ts'
import { AGENT_USER, grantAgentAccess } from './agent-access.ts'
import { ensureCertificates, ensureToken } from './apiserver/certificates.ts'
import { renderKubeconfig } from './apiserver/kubeconfig.ts'
import { type ApiServer, createApiServer } from './apiserver/server.ts'
import { builtInApi } from './built-in-api.ts'
import { startControllers } from './controllers/controllers.ts'
import type { NodeFacts } from './controllers/node-registration.ts'
import { formatNetwork } from './ip-arithmetic.ts'
import { apiCaFile, hostDirectory, namespaceName, nodeTokenFile } from './names.ts'
import { NamespaceListeners } from './namespace-listeners.ts'
import { podLogProvider } from './pod-logs.ts'
import { loadRack, type Rack } from './rack.ts'
import { writeIfChanged } from './write-if-changed.ts'

const ADDRESS = '127.0.0.1'
/** A directory of its own, named like a host. */
const CONTROL = 'control'
/** Nodes alternate between two zones, so that topology shows in a rack. */
const ZONES = ['zone-a', 'zone-b']

export interface Control {
  readonly server: ApiServer
  close(): Promise<void>
}

/** Starts API server and controllers of a rack whose namespaces exist. Resolves once the controllers run. */
export async function startControl(rack: Rack, log: (message: string) => void): Promise<Control> {
  const directory = hostDirectory(rack.name, CONTROL)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const certificates = await ensureCertificates(`${directory}/tls`)
  const tokenFile = `${directory}/admin-token`
  const snapshotFile = `${directory}/snapshot.json`
  const adminToken = await ensureToken(tokenFile)
  const server = await createApiServer({
    ...builtInApi,
    tls: certificates,
    tokens: [admin(adminToken), ...(await nodeTokens(rack))],
    clusterIpRanges: [
      formatNetwork(rack.plan.bases.services.ipv4),
      formatNetwork(rack.plan.bases.services.ipv6),
    ],
    snapshotFile,
    podLogs: podLogProvider(rack.name),
    log,
  })
  await grantAgentAccess(server)
  const listeners = await listenEverywhere(server, rack, log)
  const url = `https://${ADDRESS}:${rack.apiPort}`
  writeIfChanged(apiCaFile(rack.name), certificates.ca, 0o644)
  const client = createKubeClient({
    servers: [url],
    caFile: apiCaFile(rack.name),
    tokenFile,
    userAgent: 'weir-rack',
  })
  await ensureServiceCidr(client, rack)
  const controllers = await startControllers({
    rack: rack.name,
    client,
    nodes: rack.plan.nodes.map(nodeFacts),
    log,
  })
  // Last, for `up` takes it as the sign that all is ready.
  const kubeconfig = { name: rack.name, server: url, caPem: certificates.ca, token: adminToken }
  writeIfChanged(rack.kubeconfig, renderKubeconfig(kubeconfig), 0o600)
  return {
    server,
    close: async () => {
      controllers.close()
      await listeners.close()
      client.close()
      // First, so that nothing is lost if the rest takes too long for whoever asked.
      await server.snapshot(snapshotFile)
      await server.close()
    },
  }
}

/** Where ClusterIPs come from, under the name that every cluster has it. */
async function ensureServiceCidr(client: KubeClient, rack: Rack): Promise<void> {
  const { services } = rack.plan.bases
  const cidrs = [formatNetwork(services.ipv4), formatNetwork(services.ipv6)]
  const object = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'kubernetes' },
    spec: { cidrs },
  }
  await client.create(SERVICE_CIDRS, object).catch((error: unknown) => {
    if (!isKubeError(error, 'already-exists')) throw error
  })
}

/** Listens here and in every node. A node whose namespace is missing is `up`'s to mend, and is served once it is there. */
async function listenEverywhere(
  server: ApiServer,
  rack: Rack,
  log: (message: string) => void,
): Promise<NamespaceListeners> {
  await server.listen({ host: ADDRESS, port: rack.apiPort })
  const open = (path: string) => server.listen({ fd: listenTcpIn(path, ADDRESS, rack.apiPort) })
  const namespaces = rack.plan.nodes.map(({ name }) => namespaceName(rack.name, name))
  const listeners = new NamespaceListeners(namespaces, open, log)
  await listeners.start()
  return listeners
}

function admin(token: string) {
  return { token, user: { name: 'kubernetes-admin', uid: 'kubernetes-admin', groups: ['system:masters'] } }
}

/** Each node's agent has a token of its own, of the one ServiceAccount, as its pod would have. */
async function nodeTokens(rack: Rack) {
  return Promise.all(
    rack.plan.nodes.map(async ({ name }) => {
      mkdirSync(hostDirectory(rack.name, name), { recursive: true })
      return { token: await ensureToken(nodeTokenFile(rack.name, name)), user: AGENT_USER }
    }),
  )
}

function nodeFacts(node: Rack['plan']['nodes'][number]): NodeFacts {
  return {
    name: node.name,
    addresses: node.families.map((family) => node.loopback[family]),
    podCidrs: node.families.map((family) => node.podCidr[family]),
    zone: ZONES[(node.index - 1) % ZONES.length] ?? '',
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rack: { type: 'string' } } })
  if (values.rack === undefined) throw new Error('which rack? Say --rack NAME')
  const rack = loadRack(values.rack)
  const log = (message: string) => void process.stdout.write(`${new Date().toISOString()} ${message}\n`)
  const control = await startControl(rack, log)
  const readyFile = `${hostDirectory(rack.name, CONTROL)}/ready`
  writeFileSync(readyFile, `${process.pid}\n`)
  log(
    `rack ${rack.name}: API server on ${ADDRESS}:${rack.apiPort}, here and in ${rack.plan.nodes.length} nodes`,
  )
  const stop = (signal: string) => {
    log(`${signal}: stopping; pods run on`)
    rmSync(readyFile, { force: true })
    control.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log(`stop: ${String(error)}`)
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  main().catch((error: unknown) => {
    process.stderr.write(
      `control: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
    process.exit(1)
  })
}
