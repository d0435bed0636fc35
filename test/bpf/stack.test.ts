// The stack that 6.1 allows, which this machine's kernel may be more generous with.

import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { STACK_BYTES_MAX, stackDepths } from './stack-depth.ts'

const objects = fileURLToPath(new URL('../../build/bpf/', import.meta.url))

for (const name of readdirSync(objects).filter((file) => /^weir_.*\.bpf\.o$/.test(file)))
  t.test(`${name}: no chain of calls is deeper than 6.1 takes`, async (t) => {
    const depths = stackDepths(objects + name)
    t.ok(depths.size > 0, 'it has programs')
    for (const [program, { bytes, chain }] of depths)
      t.ok(bytes <= STACK_BYTES_MAX, `${program}: ${bytes} bytes by ${chain.join(' → ')}`)
  })
