// Leaving a node: what the agent made is taken away, what it changed is put back, in the order that hurts traffic least:
//
//   addresses of Services withdrawn from gobgpd → learned routes → programs, links, maps → masquerade → kernel settings →
//   state files → default route
//
// The routes of the node itself and of its pods stay with gobgpd, which is another process and serves them until it is stopped.
// Nothing is done while the agent runs: it would put everything back.

import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { removeDatapath } from '../datapath/removal.ts'
import { removeLearnedRoutes } from '../speaker/kernel-routes.ts'
import { withdrawPaths } from '../speaker/withdraw.ts'
import { Netlink } from '../sys/node-netlink/netlink.ts'
import { ANNOUNCING_MEMORY_FILE } from './announcing-memory.ts'
import { ROUTING_FILE } from './boot-routing.ts'
import { CILIUM_FILE } from './cilium-memory.ts'
import type { AgentConfig } from './config.ts'
import { CANDIDATE_FILE } from './config-candidate.ts'
import { LAST_GOOD_FILE } from './config-file.ts'
import { removeDefaultRoutes } from './default-route.ts'
import { MASQUERADE_TABLE } from './masquerade-rules.ts'
import { deleteTable } from './nft.ts'
import { NODE_FILE } from './own-node.ts'
import { POLICY_RECORDS_FILE } from './policy-records-file.ts'
import { POLICY_RULES_FILE } from './policy-rules-file.ts'
import { servicePaths } from './service-paths.ts'
import { kernelSysctls, readSysctlRecord, restoreSysctls, SYSCTL_STATE_FILE } from './sysctls.ts'
import { VIP_MEMORY_FILE } from './vip-memory-file.ts'

/** What routers need to take the withdrawals in, before nobody answers here. */
const WITHDRAWN_MS = 2000
export const STATE_FILES: readonly string[] = [
  'agent.sock',
  SYSCTL_STATE_FILE,
  `${SYSCTL_STATE_FILE}.new`,
  `${SYSCTL_STATE_FILE}.unreadable`,
  LAST_GOOD_FILE,
  CANDIDATE_FILE,
  NODE_FILE,
  ROUTING_FILE,
  CILIUM_FILE,
  VIP_MEMORY_FILE,
  ANNOUNCING_MEMORY_FILE,
  POLICY_RECORDS_FILE,
  POLICY_RULES_FILE,
]

export class UninstallError extends Error {
  readonly code = 'AGENT_RUNS'
}

/** @returns one line for each thing that was removed or put back, or would be */
export async function uninstall(config: AgentConfig, isDryRun: boolean): Promise<string[]> {
  const { stateDirectory, datapath } = config
  if (!isDryRun && (await answers(join(stateDirectory, 'agent.sock')))) {
    throw new UninstallError(
      `the agent runs: it answers on ${join(stateDirectory, 'agent.sock')}. Mend: stop it first (kubectl delete daemonset weir, or systemctl stop)`,
    )
  }
  const lines = await withdrawServices(config, isDryRun)
  await withNetlink(async (netlink) => {
    const learned = await removeLearnedRoutes(netlink, isDryRun)
    lines.push(...learned.map((prefix) => `learned route to ${prefix}`))
    lines.push(...(await removeDatapath(datapath.bpffs, netlink, isDryRun)))
  })
  const isExpected = config.masquerade.enabled
  if (await deleteTable(MASQUERADE_TABLE, { isDryRun, isExpected }))
    lines.push(`nftables table inet ${MASQUERADE_TABLE}`)
  lines.push(...restoreSettings(stateDirectory, isDryRun))
  lines.push(...removeState(stateDirectory, isDryRun))
  // Last: it may be the node's only way out, and with it the session goes that asked for all of this.
  lines.push(...(await withNetlink((netlink) => removeDefaultRoutes(netlink, isDryRun))))
  return lines
}

async function withNetlink<T>(action: (netlink: Netlink) => Promise<T>): Promise<T> {
  const netlink = new Netlink()
  try {
    return await action(netlink)
  } finally {
    netlink.close()
  }
}

/** Other nodes go on serving them. @returns a line for each */
async function withdrawServices(config: AgentConfig, isDryRun: boolean): Promise<string[]> {
  const { routing } = config
  const withdrawn = await withdrawPaths({
    target: routing.gobgp,
    host: routing.mode,
    chosen: servicePaths(config),
    isDryRun,
  })
  if (withdrawn === undefined) return []
  if (withdrawn.length > 0 && !isDryRun) await sleep(WITHDRAWN_MS)
  return withdrawn.map((prefix) => `announcement of ${prefix}`)
}

function restoreSettings(stateDirectory: string, isDryRun: boolean): string[] {
  return restoreSysctls(readSysctlRecord(stateDirectory), kernelSysctls, isDryRun).map(
    ({ name, outcome, value }) => {
      if (outcome === 'restored') return `kernel setting ${name} back to ${value}`
      if (outcome === 'gone') return `kernel setting ${name}: its device is gone`
      return `kernel setting ${name}: left at ${value}, which is not what the agent set`
    },
  )
}

/** The directory may hold what is gobgpd's. */
function removeState(directory: string, isDryRun: boolean): string[] {
  const files = STATE_FILES.filter((name) => existsSync(join(directory, name)))
  if (!isDryRun) {
    for (const name of files) rmSync(join(directory, name))
    if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory)
  }
  return files.map((name) => `file ${join(directory, name)}`)
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
