// The file system that pins live in.

import { mkdirSync, rmSync, statfsSync } from 'node:fs'
import { BpfError, check } from './errors.ts'
import { mountBpffs } from './native.ts'

const BPFFS_MAGIC = 0xcafe4a11
export const BPFFS_ROOT = '/sys/fs/bpf'

export function isBpffs(path: string): boolean {
  return statfsSync(path).type === BPFFS_MAGIC
}

/** Mounts bpffs there unless it is mounted already, as systemd does at boot. */
export function ensureBpffs(path = BPFFS_ROOT): void {
  mkdirSync(path, { recursive: true })
  if (isBpffs(path)) return
  check(mountBpffs(path), 'mounting bpffs at', path)
}

/** Makes a directory inside a mounted bpffs, with its parents. Names with a dot are refused by the kernel for directories. */
export function makePinDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  if (isBpffs(path)) return
  throw new BpfError({
    action: 'making the pin directory',
    object: path,
    code: 'invalid',
    reason: 'it is not on bpffs',
    mend: `choose one below ${BPFFS_ROOT} and call ensureBpffs() first`,
  })
}

/** Removes a pin, or a directory of pins with everything in it. Nothing there is fine. */
export function unpin(path: string): void {
  rmSync(path, { recursive: true, force: true })
}
