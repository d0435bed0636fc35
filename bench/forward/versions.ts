// What Weir is measured against, as it tells its version itself.

import { spawnSync } from 'node:child_process'

export function versionsOfRivals(commands: readonly string[] = ['iptables', 'nft']): Record<string, string> {
  const versions: Record<string, string> = {}
  for (const command of commands) {
    const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' })
    // `iptables v1.8.9 (nf_tables)`, `nftables v1.0.6 (Lester Gooch #5)`, `ipset v7.17, protocol version: 7`
    const text = /v([^\s,]+(?: \(nf_tables\)| \(legacy\))?)/.exec(stdout ?? '')?.[1]
    if (text !== undefined) versions[command] = text
  }
  return versions
}
