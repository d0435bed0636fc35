// The codec generator: its whole output against the committed sample.gen.ts, and the generated codecs against properties.
// After a wanted change: node tools/abi-gen.ts build/bpf/abi_sample.bpf.o test/unit/sys/libbpf-ts/sample.gen.ts

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t from 'tap'
import { generateCodecs } from '../../../../src/sys/libbpf-ts/codegen.ts'
import { decodeValue, describeLayout, findType, readObjectBtf } from '../../../../src/sys/libbpf-ts/index.ts'
import { objectPath } from './fixture.ts'
import {
  decodeSample,
  decodeSampleHolesT,
  decodeSamplePoint,
  encodeSample,
  encodeSampleHolesT,
  encodeSamplePoint,
  SAMPLE_BYTES,
  SAMPLE_KIND_NAMES,
  SAMPLE_LAYOUT,
  type Sample,
  SampleKind,
} from './sample.gen.ts'

const sampleObject = objectPath('abi_sample.bpf.o')
const btf = readObjectBtf(sampleObject)
const golden = fileURLToPath(new URL('./sample.gen.ts', import.meta.url))
const tool = fileURLToPath(new URL('../../../../tools/abi-gen.ts', import.meta.url))

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const unsigned = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 })
const array = <T>(of: fc.Arbitrary<T>, length: number) =>
  fc.array(of, { minLength: length, maxLength: length })
/** Objects as programs write them: fast-check's own also come without a prototype. */
const record = <T extends object>(fields: { [Name in keyof T]: fc.Arbitrary<T[Name]> }) =>
  fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>
const wide = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })

const sample: fc.Arbitrary<Sample> = record({
  stamp: wide,
  balance: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  address: bytes(16),
  points: array(record({ high: unsigned(32), low: unsigned(16) }), 2),
  grid: array(array(unsigned(16), 3), 2),
  wide,
  many: array(unsigned(32), 9),
  label: fc.stringMatching(/^[a-z0-9.-]{0,11}$/),
  mac: bytes(6),
  on: fc.boolean(),
  delta: fc.integer({ min: -128, max: 127 }),
  kind: fc.constantFrom(0, 1, 7),
  either: bytes(16),
  left: unsigned(16),
  right: fc.integer({ min: -32768, max: 32767 }),
  inner: record({ only: unsigned(32) }),
  lowBits: unsigned(3),
  highBits: unsigned(10),
  last: unsigned(32),
})

t.test('the output for the sample types is the committed file', (t) => {
  const options = { layoutModule: '../../../../src/sys/libbpf-ts/layout.ts' }
  t.equal(generateCodecs(btf, options), readFileSync(golden, 'utf8'))
  t.end()
})

t.test('another compiler gives the same file', (t) => {
  const clang = ['clang-14', 'clang-16', 'clang-17', 'clang-18'].find(
    (name) => spawnSync(name, ['--version']).status === 0,
  )
  if (clang === undefined) {
    t.comment('only one clang is installed: nothing to compare with')
    t.end()
    return
  }
  const directory = mkdtempSync(join(tmpdir(), 'abi-gen-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const object = join(directory, 'sample.o')
  const source = fileURLToPath(new URL('../../../bpf/abi_sample.bpf.c', import.meta.url))
  const include = `-I/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`
  const built = spawnSync(clang, ['-O2', '-g', '-target', 'bpf', include, '-c', source, '-o', object], {
    encoding: 'utf8',
  })
  t.equal(built.status, 0, built.stderr)
  const options = { layoutModule: '../../../../src/sys/libbpf-ts/layout.ts' }
  t.equal(generateCodecs(readObjectBtf(object), options), readFileSync(golden, 'utf8'))
  t.end()
})

t.test('what is encoded is decoded the same, at any offset, over any old bytes', (t) => {
  fc.assert(
    fc.property(sample, fc.nat(40), unsigned(8), (value, offset, old) => {
      const buffer = Buffer.alloc(SAMPLE_BYTES + 64, old)
      t.equal(encodeSample(value, buffer, offset), buffer)
      t.strictSame(decodeSample(buffer, offset), value)
      const outside = Buffer.concat([buffer.subarray(0, offset), buffer.subarray(offset + SAMPLE_BYTES)])
      t.ok(
        outside.every((byte) => byte === old),
        'nothing beside it is touched',
      )
    }),
    { numRuns: 50 },
  )
  t.end()
})

t.test('generated codecs and the decoder by BTF read the same', (t) => {
  const typeId = findType(btf, 'struct', 'sample') ?? 0
  fc.assert(
    fc.property(sample, (value) => {
      const decoded = decodeValue(btf, typeId, encodeSample(value)) as Record<string, unknown>
      t.match(decoded, {
        stamp: value.stamp,
        balance: value.balance,
        wide: value.wide,
        label: value.label,
        mac: Buffer.from(value.mac).toString('hex'),
        on: value.on,
        delta: value.delta,
        right: value.right,
        low_bits: value.lowBits,
        high_bits: value.highBits,
        grid: value.grid,
      })
    }),
    { numRuns: 30 },
  )
  t.end()
})

t.test('padding and holes are zeroed, big-endian fields are big-endian', (t) => {
  const point = encodeSamplePoint({ high: 0x01020304, low: 0x0506 }, Buffer.alloc(8, 0xff))
  t.equal(point.toString('hex'), '0102030405060000')
  t.strictSame(decodeSamplePoint(point), { high: 0x01020304, low: 0x0506 })
  const holes = encodeSampleHolesT({ code: 9, total: 1n }, Buffer.alloc(16, 0xff))
  t.equal(holes.toString('hex'), '09000000000000000100000000000000')
  t.strictSame(decodeSampleHolesT(holes), { code: 9, total: 1n })
  t.end()
})

t.test('enums are constants with a table back to names; an alias does not take its original’s name', (t) => {
  t.equal(SampleKind.SAMPLE_LAST, 7)
  t.equal(SampleKind.SAMPLE_ALIAS, 1)
  t.strictSame(
    [...SAMPLE_KIND_NAMES],
    [
      [0, 'SAMPLE_NONE'],
      [1, 'SAMPLE_FIRST'],
      [7, 'SAMPLE_LAST'],
    ],
  )
  t.end()
})

t.test('negative constants of an enum that says it is signed stay negative', (t) => {
  const values = [{ name: 'BELOW', value: -7n }]
  const text = generateCodecs(
    {
      types: [
        { kind: 'void', name: '' },
        { kind: 'enum', name: 'level', size: 4, signed: true, values },
        { kind: 'variable', name: 'level', typeId: 1 },
      ],
    },
    { layoutModule: './layout.ts' },
  )
  t.match(text, /BELOW: -7,/)
  t.notMatch(text, /import/, 'what is not needed is not imported')
  t.end()
})

t.test('values that do not fit are refused by name', (t) => {
  const [value] = fc.sample(sample, 1)
  if (!value) throw new Error('no sample')
  const cases: [Partial<Sample>, RegExp][] = [
    [{ address: new Uint8Array(4) }, /Sample.address has 4 bytes, 16 are needed/],
    [{ many: [1] }, /Sample.many has 1 elements, 9 are needed/],
    [{ label: 'twelve-bytes' }, /Sample.label does not fit 11 bytes/],
    [{ lowBits: 8 }, /Sample.lowBits needs more than 3 bits/],
    [{ left: 65536 }, /out of range/],
    [{ stamp: -1n }, /out of range/],
  ]
  for (const [change, message] of cases) t.throws(() => encodeSample({ ...value, ...change }), { message })
  t.throws(() => decodeSample(Buffer.alloc(160)), RangeError)
  t.end()
})

t.test('the layout in the file is the object’s, and its hash follows it', (t) => {
  const found = describeLayout(btf, findType(btf, 'struct', 'sample') ?? 0)
  t.strictSame(found, SAMPLE_LAYOUT)
  t.not(describeLayout(btf, findType(btf, 'struct', 'sample_point') ?? 0).hash, found.hash)
  t.end()
})

t.test('the tool refuses what has no sound codec, names it, and leaves the old file', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'abi-gen-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const output = join(directory, 'out.gen.ts')
  writeFileSync(output, 'old')
  const refused = spawnSync(process.execPath, [tool, objectPath('abi_refused.bpf.o'), output], {
    encoding: 'utf8',
  })
  t.equal(refused.status, 1)
  t.match(
    refused.stderr,
    /an unnamed member of UnnamedUnion: an unnamed union has no field to go by. Mend: give the union a name/,
  )
  t.equal(readFileSync(output, 'utf8'), 'old')
  t.equal(spawnSync(process.execPath, [tool, sampleObject, output]).status, 0)
  t.match(readFileSync(output, 'utf8'), /export interface Sample \{/)
  const { mtimeMs } = statSync(output)
  t.equal(spawnSync(process.execPath, [tool, sampleObject, output]).status, 0)
  t.ok(statSync(output).mtimeMs >= mtimeMs, 'the build sees it as made')
  t.equal(spawnSync(process.execPath, [tool]).status, 2)
  t.end()
})
