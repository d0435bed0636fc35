// Chains of iptables in its old form (ip_tables), which nf_tables does not show. Only tables that are there are asked for: asking for
// another would make the kernel set it up.

import { readFileSync } from 'node:fs'
import type { Family } from '../../model/address.ts'
import { closeDescriptor, openSocket, readSocketOption, SOCK_DGRAM } from '../../sys/libc/sockets.ts'

const AF_INET = 2
const AF_INET6 = 10
const LEVEL: Readonly<Record<Family, number>> = { ipv4: 0, ipv6: 41 }
const SO_GET_INFO = 64
const SO_GET_ENTRIES = 65
const NAME_BYTES = 32
/** struct ipt_getinfo { name[32], valid_hooks, hook_entry[5], underflow[5], num_entries, size }. */
const INFO_BYTES = 84
const INFO_SIZE_AT = 80
/** struct ipt_get_entries { name[32], size, entries }, which are aligned to 8 bytes. */
const ENTRIES_AT = 40
/** A kube-proxy of 10 000 Services has some 20 MiB. */
const TABLE_BYTES_MAX = 256 << 20

/** Whether the table has a chain of this name: a chain begins with an entry that holds its name. */
export function hasLegacyChain(family: Family, table: string, chain: string): boolean {
  if (!legacyTables(family).includes(table)) return false
  const fd = openSocket(family === 'ipv4' ? AF_INET : AF_INET6, SOCK_DGRAM, 0)
  try {
    const info = Buffer.alloc(INFO_BYTES)
    info.write(table, 'latin1')
    readSocketOption(fd, LEVEL[family], SO_GET_INFO, info, `ask for the size of ${family} table ${table}`)
    const size = info.readUInt32LE(INFO_SIZE_AT)
    if (size > TABLE_BYTES_MAX) return false
    const entries = Buffer.alloc(ENTRIES_AT + size)
    entries.write(table, 'latin1')
    entries.writeUInt32LE(size, NAME_BYTES)
    readSocketOption(fd, LEVEL[family], SO_GET_ENTRIES, entries, `read ${family} table ${table}`)
    return entries.includes(`${chain}\0`, ENTRIES_AT, 'latin1')
  } finally {
    closeDescriptor(fd)
  }
}

function legacyTables(family: Family): string[] {
  try {
    const names = readFileSync(
      `/proc/thread-self/net/ip${family === 'ipv4' ? '' : '6'}_tables_names`,
      'latin1',
    )
    return names.split('\n')
  } catch {
    return []
  }
}
