// An agent's client at an API server that enforces the roles of manifests/.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createKubeClient } from '../../../src/kube/client.ts'
import { AGENT_USER, grantAgentAccess } from '../../../src/sandbox/agent-access.ts'
import type { KindDefinition } from '../../../src/sandbox/apiserver/kind.ts'
import { startServer } from '../sandbox/apiserver/test-server.ts'

const CLUSTER_ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/weir'

/** @returns a client of the agents' ServiceAccount, and what takes a resource out of the ClusterRole's rules and puts it back */
export async function agentAt(test: Test, kinds: readonly KindDefinition[]) {
  const server = await startServer({
    kinds,
    tokens: [{ token: 'agent', user: AGENT_USER }],
  })
  await grantAgentAccess(server.server)
  const directory = mkdtempSync(join(tmpdir(), 'weir-access-'))
  const [caFile, tokenFile] = [join(directory, 'ca.crt'), join(directory, 'token')]
  writeFileSync(caFile, server.ca)
  writeFileSync(tokenFile, 'agent')
  const client = createKubeClient({ servers: [`https://127.0.0.1:${server.port}`], caFile, tokenFile })
  test.teardown(async () => {
    client.close()
    await server.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const takeAway = async (resource: string): Promise<void> => {
    const { client: admin } = server.server
    const { body } = await admin.request<{ rules: { resources: string[] }[] }>('GET', CLUSTER_ROLE)
    const rules = body.rules.map((rule) => ({
      ...rule,
      resources: rule.resources.filter((one) => one !== resource),
    }))
    const kept = rules.filter(({ resources }) => resources.length > 0)
    await admin.request('PUT', CLUSTER_ROLE, { ...body, rules: kept })
  }
  return { server, client, takeAway, giveBack: () => grantAgentAccess(server.server) }
}
