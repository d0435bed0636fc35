// What libbpf and the verifier print, captured for the error message instead of written to stderr.
//
// libbpf's print hook is one per process. It is set only for the length of one synchronous call and silent otherwise, so a
// callback is never invoked from a foreign thread unless two threads load objects in the same instant.

import koffi from 'koffi'
import { libc } from '../libc/library.ts'
import { setPrint } from './native.ts'

/** Longer verifier logs lose their end; the kernel keeps the tail itself from 6.4 on. */
const VERIFIER_LOG_BYTES = 16 << 20
const LINE_BYTES = 8 << 10
const MESSAGE_LINES = 12

// On x86-64 and arm64 a va_list argument arrives as a pointer that can be handed on as it is.
const vsnprintf = libc.func('int vsnprintf(void *buffer, size_t size, const char *format, void *arguments)')
const printType = koffi.pointer(koffi.proto('int BpfPrint(int level, const char *format, void *arguments)'))

setPrint(null)

function format(template: string, args: unknown): string {
  const buffer = Buffer.allocUnsafe(template.includes('LOAD LOG') ? VERIFIER_LOG_BYTES : LINE_BYTES)
  const written = Number(vsnprintf(buffer, buffer.length, template, args))
  return buffer.toString('utf8', 0, Math.min(Math.max(written, 0), buffer.length - 1))
}

export interface LoggedCall<T> {
  readonly result: T
  readonly log: string
}

/** Runs a synchronous libbpf call and returns what it printed beside its result. */
export function withLog<T>(call: () => T): LoggedCall<T> {
  const parts: string[] = []
  const callback = koffi.register((level: number, template: string, args: unknown) => {
    const LEVEL_DEBUG = 2
    if (level < LEVEL_DEBUG) parts.push(format(template, args))
    return 0
  }, printType)
  setPrint(callback)
  try {
    const result = call()
    return { result, log: parts.join('') }
  } finally {
    setPrint(null)
    koffi.unregister(callback)
  }
}

/** The last lines of a log that a person can act on: without libbpf's frames and the verifier's statistics. */
export function lastLines(log: string): string {
  return log
    .split('\n')
    .map((line) => line.trimEnd())
    .filter(
      (line) =>
        line !== '' &&
        !/-- (BEGIN|END)|failed to load|BPF program load failed|^processed \d+ insns|^(max_states|verification time)/.test(
          line,
        ),
    )
    .slice(-MESSAGE_LINES)
    .join('\n')
}
