// The filter of addresses: a bit is set as long as anyone holds an address of it, whoever shares it, and across restarts.

import t from 'tap'
import { AbiConstant } from '../../../src/datapath/abi.gen.ts'
import {
  FrontendFilter,
  filterAdmits,
  filterBits,
  networkBit,
} from '../../../src/datapath/frontend-filter.ts'
import { type Address, address } from '../../../src/model/address.ts'

const words = () => new Uint32Array(AbiConstant.FILTER_ALL_BITS / 32)
/** As the programs read it: bit b is bit b % 64 of the little-endian 64-bit word b / 64. */
const isSet = (bits: Uint32Array, of: Address) => {
  const numbers = filterBits(of)
  const word = Buffer.from(bits.buffer).readBigUInt64LE((numbers[0] >> 6) * 8)
  return numbers.every((bit) => bit >> 6 === numbers[0] >> 6 && ((word >> BigInt(bit % 64)) & 1n) === 1n)
}
const VIP = address('203.0.113.10')
const VIP6 = address('2001:db8:113::10')

/** Another address with one of its bits, but not with all of them. */
function sharer(of: Address): Address {
  const bits = filterBits(of)
  for (let last = 0; last < 1 << 22; last += 1) {
    const candidate = address(`10.${last >> 16}.${(last >> 8) & 255}.${last & 255}`)
    const shared = filterBits(candidate).filter((bit) => bits.includes(bit))
    if (shared.length === 1 && candidate !== of) return candidate
  }
  throw new Error('no address shares a bit')
}

t.test('held once, twice, released', async (t) => {
  const bits = words()
  const filter = new FrontendFilter(bits)
  for (const vip of [VIP, VIP6]) {
    t.notOk(isSet(bits, vip))
    filter.hold(vip)
    filter.hold(vip)
    filter.release(vip)
    t.ok(isSet(bits, vip), 'another frontend of the address is left')
    filter.release(vip)
    t.notOk(isSet(bits, vip))
    t.throws(() => filter.release(vip), /does not hold/)
  }
  t.ok(bits.every((word) => word === 0))
})

t.test('two addresses that share a bit', async (t) => {
  const bits = words()
  const filter = new FrontendFilter(bits)
  const other = sharer(VIP)
  filter.hold(VIP)
  filter.hold(other)
  filter.release(VIP)
  t.ok(isSet(bits, other), 'the shared bit stays for the other')
  filter.release(other)
  t.notOk(isSet(bits, VIP))
})

t.test('what is not counted any longer stays until the next process', async (t) => {
  const bits = words()
  const filter = new FrontendFilter(bits)
  const times = 0x1_0000
  for (let held = 0; held < times; held += 1) filter.hold(VIP)
  for (let held = 0; held < times; held += 1) filter.release(VIP)
  t.ok(filterAdmits(bits, VIP))
  new FrontendFilter(bits).settle()
  t.notOk(filterAdmits(bits, VIP))
})

t.test('a new process keeps what it holds and clears what nobody does', async (t) => {
  const bits = words()
  const first = new FrontendFilter(bits)
  for (const held of [VIP, VIP6, sharer(VIP6), address('192.0.2.1')]) first.hold(held)
  const second = new FrontendFilter(bits)
  second.hold(VIP)
  t.ok(isSet(bits, address('192.0.2.1')), 'nothing is cleared before all is known')
  second.settle()
  t.same(
    [VIP, VIP6, address('192.0.2.1')].map((of) => isSet(bits, of)),
    [true, false, false],
  )
  second.release(VIP)
  t.ok(bits.every((word) => word === 0))
})

t.test('a map of another size is refused', async (t) => {
  t.throws(() => new FrontendFilter(new Uint32Array(8)), /npm run build/)
})

t.test('networks have bits of their own', async (t) => {
  const bits = words()
  const filter = new FrontendFilter(bits)
  const network = address('10.96.0.0')
  filter.holdNetwork(network)
  t.notOk(isSet(bits, network), 'not the bit of an address')
  t.ok(networkBit(network) >= AbiConstant.FILTER_BITS)
  filter.settle()
  t.notOk(bits.every((word) => word === 0))
  filter.releaseNetwork(network)
  t.ok(bits.every((word) => word === 0))
  t.throws(() => filter.releaseNetwork(network), /does not hold/)
})
