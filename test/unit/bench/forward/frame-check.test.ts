// Frames as they came out of beds, whole and spoilt.

import t from 'tap'
import { wrongWith } from '../../../../bench/forward/frame-check.ts'

const TO_POD = Buffer.from(
  '0200000000b00200000000a1080045000032000000003f11a8d6c61201b70af4002804e11f40001e2d0f77656972776569727765697277656972776569727765',
  'hex',
)
const TUNNELLED = Buffer.from(
  '0200000000f00200000000a208004500007e000040004011e228ac140001ac14001dcbf717c1006a00000a40080000000000ff57810900000000000000000000ffff0af41c021f4000000000000000000000000000000000000045000032000000004011f13bc6120167c000020604ea0050001e955b77656972776569727765',
  'hex',
)
const POD = { mac: '02:00:00:00:00:b0', source: '198.18.0.0/15', destination: '10.244.0.0/24' }
const TUNNEL = {
  mac: '02:00:00:00:00:f0',
  source: '172.20.0.1',
  destination: '172.20.0.0/24',
  inside: { source: '198.18.0.0/15', destination: '192.0.2.0/24' },
}

/** With one byte changed. */
function spoilt(frame: Buffer, at: number): Buffer {
  const copy = Buffer.from(frame)
  copy.writeUInt8((copy[at] ?? 0) ^ 0x01, at)
  return copy
}

t.test('a frame that is as it should be', async (t) => {
  t.equal(wrongWith(TO_POD, POD), undefined)
  t.equal(wrongWith(TUNNELLED, TUNNEL), undefined)
})

for (const [what, frame, expected, message] of [
  ['another device', TO_POD, { ...POD, mac: '02:00:00:00:00:f0' }, /goes to the device/],
  ['another destination', TO_POD, { ...POD, destination: '10.244.1.0/24' }, /goes to 10\.244\.0\.40, not to/],
  ['another source', TO_POD, { ...POD, source: '172.20.0.1' }, /comes from 198\.18\.1\.183/],
  ['a spoilt IP header', spoilt(TO_POD, 22), POD, /IP checksum/],
  ['a spoilt payload', spoilt(TO_POD, 50), POD, /UDP checksum/],
  ['no tunnel', TO_POD, { ...POD, inside: POD }, /no Geneve/],
  [
    'another Service inside',
    TUNNELLED,
    { ...TUNNEL, inside: { ...TUNNEL.inside, destination: '192.0.3.0/24' } },
    /goes to 192\.0\.2\.6/,
  ],
  ['a spoilt header inside', spoilt(TUNNELLED, 92 + 8), TUNNEL, /inside, its IP checksum/],
  ['a stump', TO_POD.subarray(0, 30), POD, /too short/],
] as const)
  t.test(what, async (t) => {
    t.match(wrongWith(frame, expected), message)
  })
