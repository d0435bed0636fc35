// The words that the programs hash with: flows in a pinned table were placed by them, and must be found again.

import t from 'tap'
import { stretchHashKey } from '../../../src/datapath/hash-key.ts'

t.test('a key is stretched to the same words in every version', async (t) => {
  t.same(
    stretchHashKey(0x0123456789abcdefn).words,
    [
      0x42b47a1c, 0xb4d9c42e, 0x4aa11938, 0xe7b58b47, 0x9d36a699, 0x755fd453, 0xebaac274, 0x34bc58dc,
      0x3f2a7eac, 0x46c76cea, 0x03e9af73, 0x1c532e43,
    ],
  )
})
