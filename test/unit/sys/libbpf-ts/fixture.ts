// What the kernel tests of libbpf-ts share: the test object, a bpffs directory of this process, and a network namespace of its own.

import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ensureBpffs, makePinDirectory, openObject, unpin } from '../../../../src/sys/libbpf-ts/index.ts'
import { libc } from '../../../../src/sys/libc/library.ts'

export const objectPath = (name: string): string =>
  fileURLToPath(new URL(`../../../../build/bpf/${name}`, import.meta.url))

export const COUNTER_OBJECT = objectPath('libbpf_counter.bpf.o')

export const openCounter = () => openObject(COUNTER_OBJECT)

/** Entries of a directory called libbpf-ts-…-PID whose process is gone: what a crashed run left behind. */
export function leftovers(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith('libbpf-ts-') && !existsSync(`/proc/${name.split('-').at(-1)}`))
    .map((name) => `${directory}/${name}`)
}

/** A new directory on bpffs, and what removes it. */
export function pinDirectory(name: string): { path: string; remove: () => void } {
  ensureBpffs()
  for (const left of leftovers('/sys/fs/bpf')) unpin(left)
  const path = `/sys/fs/bpf/libbpf-ts-${name}-${process.pid}`
  makePinDirectory(path)
  return { path, remove: () => unpin(path) }
}

const CLONE_NEWNET = 0x4000_0000
const unshare = libc.func('int unshare(int flags)') as (flags: number) => number

/** Moves this test process and what it spawns into a fresh network namespace, which ends with the process. */
export function enterOwnNetworkNamespace(): void {
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('unshare(CLONE_NEWNET) failed: run the tests as root')
}

export const u32 = (value: number): Buffer => {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(value)
  return key
}

export const u64 = (value: number): Buffer => {
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(BigInt(value))
  return key
}

/** struct counter of the test object. */
export const counterValue = (packets: number, port = 0): Buffer => {
  const value = Buffer.alloc(16)
  value.writeBigUInt64LE(BigInt(packets))
  value.writeUInt16BE(port, 8)
  return value
}
