// Taking announcements back without an agent: `weir uninstall` asks gobgpd for what it holds of ours and withdraws what is chosen.

import { GobgpError, openGobgpClient } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Prefix } from '../model/address.ts'

/** @returns what was withdrawn, or would be; undefined when gobgpd does not answer, and so announces nothing */
export async function withdrawPaths(
  target: string,
  chosen: (prefix: Prefix) => boolean,
  isDryRun: boolean,
): Promise<readonly Prefix[] | undefined> {
  const client = openGobgpClient({ target })
  try {
    await client.probe()
    const [ipv4, ipv6] = await Promise.all([client.listOwnPaths('ipv4'), client.listOwnPaths('ipv6')])
    const withdraw = [...ipv4, ...ipv6].map(({ prefix }) => prefix as Prefix).filter(chosen)
    if (withdraw.length > 0 && !isDryRun) await client.applyPaths({ withdraw, announce: [] })
    return withdraw
  } catch (error) {
    if (error instanceof GobgpError && error.code === 'UNAVAILABLE') return undefined
    throw error
  } finally {
    client.close()
  }
}
