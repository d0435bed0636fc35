// Rows of earlier layouts in the present one, a step from each version to the next. A map whose version rises gets its step
// here in the same change; one without a step starts empty and is filled anew from what the API server says.

/** Undefined leaves the row out. */
export type Convert = (value: Buffer) => Buffer | undefined

interface Step {
  readonly from: number
  readonly value: Convert
}

/** From version 1, with the same bytes. */
const SAME: readonly Step[] = [{ from: 1, value: (before) => before }]

/** Bytes are rearranged by hand: the codecs know the present layout alone. */
const STEPS: Readonly<Record<string, readonly Step[]>> = {
  // 1 → 2: affinity in ticks, a number for the Service port behind it. Flag 2 said that the ranges are Maglev tables, which
  // nothing read; it means a random choice now. An affinity of before is in seconds, near enough to ticks.
  frontends: [
    {
      from: 1,
      value: (before) => {
        const after = Buffer.alloc(56)
        before.copy(after, 0, 0, 16)
        after.writeUInt32LE(before.readUInt32LE(8) & ~2, 8)
        after.writeUInt32LE(before.readUInt32LE(0), 16)
        before.copy(after, 24, 16, 48)
        return after
      },
    },
  ],
  // 1 → 2: a word behind the first one, for members whose neighbour is silent.
  nexthops: [
    {
      from: 1,
      value: (before) => Buffer.concat([before.subarray(0, 4), Buffer.alloc(4), before.subarray(4)]),
    },
  ],
  // 1 → 2: more states and kinds; what an entry of before says, it still says. 2 → 3: states have other numbers, which
  // flow-copy.ts knows.
  flows: [
    { from: 1, value: (before) => before },
    { from: 2, value: (before) => before },
  ],
  // 1 → 2: a peer's row names a cell, and that the class, which the row named itself: a cell of the same number names it
  // (migration.ts). All of policy moves with it, for an agent that takes over writes to all of it while the programs of before
  // still judge by it.
  policy_peers: SAME,
  policy_subjects: SAME,
  policy_sets: SAME,
  policy_classes: SAME,
  policy_ports: SAME,
  policy_generations: SAME,
  policy_host: SAME,
  identities: SAME,
  identity_prefixes: SAME,
}

/** Undefined when the rows cannot be brought over. */
export function conversion(name: string, from: number, to: number): Convert | undefined {
  const steps: Convert[] = []
  for (let version = from; version < to; version += 1) {
    const step = STEPS[name]?.find((one) => one.from === version)
    if (!step) return undefined
    steps.push(step.value)
  }
  if (from > to) return undefined
  return (value) => steps.reduce<Buffer | undefined>((row, step) => row && step(row), value)
}
