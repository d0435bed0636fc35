// The rack's control process (API server and controllers): one per rack, outside the hosts' network namespaces.

import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Host, hostOf } from './host.ts'
import { findProcess, startProcess, stopProcess } from './process.ts'
import type { Rack } from './rack.ts'
import { waitUntil } from './wait.ts'

const CONTROL = fileURLToPath(new URL('./control.ts', import.meta.url))
const READY_MS = 60_000
const NODE_FLAGS = ['--max-semi-space-size=2', '--disable-warning=ExperimentalWarning']

/** Named like a host, though it has no network namespace of its own: a directory and a cgroup. */
export const CONTROL_HOST = 'control'

export function controlHost(rack: Rack): Host {
  return hostOf(rack.name, CONTROL_HOST)
}

/** Starts it unless it runs; waits until it says that API server and controllers are ready. */
export async function startControl(rack: Rack): Promise<void> {
  const host = controlHost(rack)
  const logFile = `${host.directory}/control.log`
  const pidFile = `${host.directory}/control.pid`
  const identity =
    findProcess(pidFile) ??
    (await startProcess({
      name: 'the control process',
      cgroup: host.systemCgroup,
      argv: [process.execPath, ...NODE_FLAGS, CONTROL, '--rack', rack.name],
      logFile,
      pidFile,
    }))
  // It writes its pid there when everything its clients need is in place; a killed predecessor's pid does not count.
  const readyFile = `${host.directory}/ready`
  const isReady = (): boolean =>
    existsSync(readyFile) && readFileSync(readyFile, 'utf8').trim() === String(identity.pid)
  await waitUntil('the API server', READY_MS, isReady, { identity, logFile })
}

/** Stops it if it runs. Its objects survive in its snapshot, pods run on. */
export async function stopControl(rack: Rack): Promise<void> {
  await stopProcess(`${controlHost(rack).directory}/control.pid`)
}

export function acceptsPort(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const answer = (isListening: boolean): void => {
      socket.destroy()
      resolve(isListening)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
  })
}
