// Taking announcements back without an agent: `weir uninstall` asks gobgpd for what it holds of ours and withdraws what is chosen. Of a
// gobgpd that is somebody else's, all that is ours goes: every path with our marker, then our policy and its sets.

import { type GobgpClient, GobgpError, openGobgpClient } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Prefix } from '../model/address.ts'
import { removeGuestPolicy } from './apply-policy.ts'
import { markerOf } from './export-classes.ts'
import type { DaemonHost } from './hosts.ts'

export interface WithdrawOptions {
  readonly target: string
  readonly host: DaemonHost
  /** Which of our own gobgpd's paths. */
  readonly chosen: (prefix: Prefix) => boolean
  readonly isDryRun: boolean
}

/** @returns what was withdrawn, or would be; undefined when gobgpd does not answer, and so announces nothing */
export async function withdrawPaths(options: WithdrawOptions): Promise<readonly Prefix[] | undefined> {
  const { target, host, isDryRun } = options
  const client = openGobgpClient({ target })
  try {
    await client.probe()
    const withdraw = await ourPaths(client, options)
    if (isDryRun) return withdraw
    if (withdraw.length > 0) await client.applyPaths({ withdraw, announce: [] })
    if (host === 'kube-router') await removeGuestPolicy(client)
    return withdraw
  } catch (error) {
    if (error instanceof GobgpError && error.code === 'UNAVAILABLE') return undefined
    throw error
  } finally {
    client.close()
  }
}

async function ourPaths(client: GobgpClient, { host, chosen }: WithdrawOptions): Promise<Prefix[]> {
  const [ipv4, ipv6] = await Promise.all([client.listOwnPaths('ipv4'), client.listOwnPaths('ipv6')])
  return [...ipv4, ...ipv6]
    .filter(({ prefix, largeCommunities }) =>
      host === 'own' ? chosen(prefix as Prefix) : markerOf(largeCommunities) !== undefined,
    )
    .map(({ prefix }) => prefix as Prefix)
}
