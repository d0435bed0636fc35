// Whole frames through all programs of a node, against what may pass: parsing, devices, connections, fragments and translation together.

import t from 'tap'
import { FramesBed } from '../frames/bed.ts'
import { checkFrames } from '../frames/oracle.ts'

const SEQUENCES = 1500

const bed = new FramesBed()
t.teardown(() => bed.close())

t.test('frames go where policy lets them, and nowhere else', async (t) => {
  const { frames, sequences, worlds, coverage } = checkFrames(bed, { sequences: SEQUENCES, seed: 2903 })
  t.comment(`${frames} frames in ${sequences} sequences of ${worlds} worlds\n${coverage}`)
  t.strictSame(coverage.missing(), [], 'every path was met')
})
