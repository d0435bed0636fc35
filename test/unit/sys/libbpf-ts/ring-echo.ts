// The worker's module in ring-buffer.test.ts: checks each record and posts the sequence numbers.

import type { RingBatch } from '../../../../src/sys/libbpf-ts/index.ts'

export function onBatch({ data, count, offsets }: RingBatch): number[] {
  return Array.from({ length: count }, (_, i) => Number(data.readBigUInt64LE(offsets[i] ?? 0)))
}
