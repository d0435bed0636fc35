// Processes beside a measurement: what they answer, how they end; and the links they live behind.

import { type ChildProcess, execFileSync } from 'node:child_process'

export const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** The next message that has this field. Rejects when the process ends first, or has. */
export function nextMessage<T>(child: ChildProcess, field: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      child.off('message', onMessage)
      child.off('exit', onExit)
    }
    const onMessage = (message: object) => {
      if (!(field in message)) return
      settle()
      resolve(message as T)
    }
    const onExit = () => {
      settle()
      reject(new Error(`${child.spawnargs.join(' ')} ended`))
    }
    if (hasEnded(child)) return onExit()
    child.on('message', onMessage)
    child.on('exit', onExit)
  })
}

/** Kills it, and waits until it has gone. */
export async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
}
