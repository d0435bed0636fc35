// FRR's daemons as the rack, the tests and the benchmarks start them: everything of one instance in one directory.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

export type FrrDaemon = 'zebra' | 'bfdd' | 'bgpd'

const FRR_DAEMONS = '/usr/lib/frr'

/** @param directory of the user `frr`, with `DAEMON.conf` in it */
export function frrCommand(daemon: FrrDaemon, directory: string): string[] {
  return [
    `${FRR_DAEMONS}/${daemon}`,
    ...['--config_file', `${directory}/${daemon}.conf`, '--vty_socket', directory],
    ...['--pid_file', `${directory}/${daemon}.pid`, '--socket', `${directory}/zserv.api`],
    ...(daemon === 'bfdd' ? ['--bfdctl', `${directory}/bfdd.sock`] : []),
    // No TCP console: the Unix socket is enough, and nothing more should listen.
    ...['--vty_port', '0', '--log', 'stdout'],
  ]
}

/** Whether it answers; the others need zebra to. */
export function isFrrReady(daemon: FrrDaemon, directory: string): boolean {
  return (
    existsSync(`${directory}/${daemon}.vty`) && (daemon !== 'zebra' || existsSync(`${directory}/zserv.api`))
  )
}

/** The daemons give up root for the user `frr`, so their sockets live in a directory of that user. */
export function frrOwner(): { uid: number; gid: number } {
  const [, , uid, gid] = execFileSync('getent', ['passwd', 'frr'], { encoding: 'utf8' }).split(':')
  return { uid: Number(uid), gid: Number(gid) }
}
