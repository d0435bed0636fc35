// What the kernel lacks is named with what is done instead.

import t from 'tap'
import { kernelFeatures } from '../../../src/datapath/kernel-features.ts'

const missing = (noSocketLists?: string, noSocketEnding?: string, noUnseen?: string) =>
  kernelFeatures({ noSocketLists, noSocketEnding, noUnseen })
    .filter(({ name, isPresent }) => name !== 'tcx' && !isPresent)
    .map(({ name }) => name)

const CASES = [
  ['all is there', undefined, undefined, undefined, []],
  ['no iterators, so nobody knows of diagnosis', 'no BTF', 'no BTF', undefined, ['socket iterators']],
  ['iterators not loaded, the worker not begun', 'no BTF', undefined, undefined, ['socket iterators']],
  [
    'built without diagnosis',
    undefined,
    'it lacks CONFIG_INET_DIAG_DESTROY',
    undefined,
    ['socket diagnosis'],
  ],
  ['none on functions', undefined, undefined, 'EPERM', ['programs on functions']],
] as const

for (const [what, noSocketLists, noSocketEnding, noUnseen, names] of CASES)
  t.test(what, async (t) => {
    t.same(missing(noSocketLists, noSocketEnding, noUnseen), names)
  })
