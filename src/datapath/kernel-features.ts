// What the running kernel has of the features that came late, and what is done where one is missing. For status and metrics;
// who uses a feature asks for it where it is used.

import { existsSync, readFileSync } from 'node:fs'
import { supportsTcx } from '../sys/libbpf-ts/index.ts'

export interface KernelFeature {
  readonly name: string
  readonly isPresent: boolean
  /** The first kernel that has it. */
  readonly since: string
  /** What is done without it. */
  readonly instead: string
}

const KERNEL_TYPES = '/sys/kernel/btf/vmlinux'

/** Looked up once: kernels do not change under a process. */
export function kernelFeatures(): readonly KernelFeature[] {
  known ??= [
    {
      name: 'tcx',
      isPresent: supportsTcx(),
      since: '6.6',
      instead: 'classifiers of clsact, marked by pins instead of held by links',
    },
    {
      name: 'bpf_sock_destroy',
      isPresent: kernelHasFunction('bpf_sock_destroy'),
      since: '6.5',
      instead: 'sockets of backends that are gone are ended through sock_diag, by their address',
    },
  ]
  return known
}

let known: readonly KernelFeature[] | undefined

/** Names of the kernel's functions are among the strings of its type information. */
function kernelHasFunction(name: string): boolean {
  return existsSync(KERNEL_TYPES) && readFileSync(KERNEL_TYPES).includes(`\0${name}\0`)
}
