// The fill of the table of sockets, counted a share at a time.

import t from 'tap'
import { SOCK_ENTRY_BYTES } from '../../../src/datapath/abi.gen.ts'
import { SockPeers } from '../../../src/datapath/sock-peers.ts'

t.test('entries are counted share by share, and told when all were looked at', async (t) => {
  const memory = new ArrayBuffer(100 * SOCK_ENTRY_BYTES)
  const words = new BigUint64Array(memory)
  const take = (entry: number, cookie: bigint) => {
    words[(entry * SOCK_ENTRY_BYTES) / 8] = cookie
  }
  for (const entry of [0, 39, 40, 99]) take(entry, BigInt(entry + 1))
  const peers = new SockPeers(memory)
  t.equal(peers.capacity, 100)
  const seen = [40, 40, 40].map((count) => {
    peers.look(count)
    return peers.used
  })
  t.same(seen, [0, 0, 4])
  take(39, 0n)
  peers.look(100)
  t.equal(peers.used, 3, 'and from the beginning again')
})
