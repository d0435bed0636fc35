// Objects, constants, maps, mapped memory and pins, against the running kernel.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import {
  BpfError,
  BpfMap,
  BpfProgram,
  checkMapLayout,
  createMap,
  dumpMap,
  enableRunTimeStats,
  findType,
  layoutDifference,
  mapLayout,
  openObject,
  POSSIBLE_CPUS,
  readKernelBtf,
} from '../../../../src/sys/libbpf-ts/index.ts'
import { counterValue, objectPath, openCounter, pinDirectory, u32, u64 } from './fixture.ts'

const frame = () => Buffer.alloc(64)

t.test('a program runs with the constants that were set before loading', (t) => {
  const spec = openCounter()
  spec.setConstant('wanted_verdict', 1)
  spec.setConstant('step', 3n)
  spec.setConstant('magic', Buffer.from('020000000001', 'hex'))
  spec.loadOnly(['count_xdp'])
  const object = spec.load()
  const program = object.program('count_xdp')
  const disableStats = enableRunTimeStats()
  const run = program.testRun({ data: frame(), repeat: 5 })
  disableStats()
  t.equal(run.returnValue, 1)
  t.equal(run.dataOut.toString('hex', 0, 6), '020000000001')
  t.equal(run.dataOut.length, 64)
  t.equal(object.map('counters').lookup(u32(0))?.readBigUInt64LE(), 15n)
  t.match(program.info(), { name: 'count_xdp', type: 'xdp', tag: /^[0-9a-f]{16}$/ })
  t.ok(program.info().jitedBytes > 0 && program.info().instructionCount > 10)
  t.throws(() => object.program('drop_xdp'), { code: 'not-found', message: /there are count_xdp/ })
  object.close()
  t.throws(() => program.info(), { code: 'closed' })
  t.end()
})

t.test('constants of the wrong length, and unknown ones, are refused', (t) => {
  const spec = openCounter()
  t.throws(() => spec.setConstant('magic', Buffer.alloc(5)), {
    code: 'size',
    message: /5 bytes given, it has 6/,
  })
  t.throws(() => spec.setConstant('wanted_verdict', 2 ** 32), {
    code: 'size',
    message: /does not fit 4 bytes/,
  })
  t.throws(() => spec.setConstant('absent', 1), { code: 'not-found' })
  t.equal(spec.hasConstant('step'), true)
  t.equal(spec.hasConstant('absent'), false)
  spec.close()
  t.throws(() => spec.load(), { code: 'closed' })
  t.end()
})

t.test('the verifier’s reason stands in the error, its whole log in a field', (t) => {
  const spec = openObject(objectPath('libbpf_refused.bpf.o'))
  try {
    spec.load()
    t.fail('the verifier let it pass')
  } catch (error) {
    if (!(error instanceof BpfError)) throw error
    t.match(error, {
      code: 'verifier',
      message: /program reads_past_end of .*invalid access to packet, off=40/s,
    })
    t.match(error.log, /BEGIN PROG LOAD LOG/)
    t.notMatch(error.message, /processed \d+ insns/)
  }
  t.throws(() => openObject('/nonexistent.o'), { code: 'not-found', message: /nonexistent/ })
  t.end()
})

t.test('single entries: what one expects is a result, what one does not expect throws', (t) => {
  const map = createMap({ name: 'one', type: 'hash', keySize: 8, valueSize: 16, maxEntries: 2 })
  t.equal(map.lookup(u64(1)), undefined)
  t.equal(map.update(u64(1), counterValue(7)), true)
  t.equal(map.update(u64(1), counterValue(8), 'noexist'), false)
  t.equal(map.update(u64(2), counterValue(8), 'exist'), false)
  t.equal(map.lookup(u64(1))?.readBigUInt64LE(), 7n)
  map.update(u64(2), counterValue(9))
  t.throws(() => map.update(u64(3), counterValue(9)), { code: 'full', message: /max_entries/ })
  t.equal(map.delete(u64(2)), true)
  t.equal(map.delete(u64(2)), false)
  t.strictSame(map.nextKey(), u64(1))
  t.equal(map.nextKey(u64(1)), undefined)
  t.throws(() => map.update(u32(1), counterValue(1)), { code: 'size', message: /4 bytes, 8 are needed/ })
  t.throws(() => map.lookupInto(u64(1), Buffer.alloc(15)), { code: 'size' })
  map.close()
  map.close()
  t.throws(() => map.lookup(u64(1)), { code: 'closed' })
  t.end()
})

t.test('batches write, read and delete many entries; missing keys do not stop a deletion', (t) => {
  const spec = openCounter()
  spec.map('table').setMaxEntries(20_000)
  spec.loadOnly([])
  const object = spec.load()
  const table = object.map('table')
  t.equal(table.info.maxEntries, 20_000)
  const count = 10_000
  const keys = Buffer.concat(Array.from({ length: count }, (_, i) => u64(i)))
  const values = Buffer.concat(Array.from({ length: count }, (_, i) => counterValue(i * 2)))
  table.updateBatch(keys, values, count)
  const seen = new Map<bigint, bigint>()
  for (const { key, value } of table.entries()) seen.set(key.readBigUInt64LE(), value.readBigUInt64LE())
  t.equal(seen.size, count)
  t.ok([...seen].every(([key, value]) => value === key * 2n))
  t.throws(() => table.updateBatch(keys, values, count + 1), { code: 'size' })
  const wanted = Buffer.concat([99_999, 0, 88_888, 1, 2, 77_777].map(u64))
  t.equal(table.deleteBatch(wanted, 6), 3)
  t.equal(table.lookup(u64(2)), undefined)
  t.equal(table.lookup(u64(3))?.readBigUInt64LE(), 6n)
  t.equal(
    [...table.batches(16)].reduce((sum, batch) => sum + batch.count, 0),
    count - 3,
  )
  object.close()
  t.end()
})

t.test('a map full in the middle of a batch says how far it came', (t) => {
  const map = createMap({ name: 'small', type: 'hash', keySize: 8, valueSize: 8, maxEntries: 3 })
  const keys = Buffer.concat([1, 2, 3, 4, 5].map(u64))
  t.throws(() => map.updateBatch(keys, keys, 5), { code: 'full', message: /stopped after 3/ })
  t.equal([...map.entries()].length, 3)
  map.close()
  t.end()
})

t.test('mapped memory is the map: stores and counts are seen both ways', (t) => {
  const object = openCounter().load()
  const counters = object.map('counters')
  const memory = new BigUint64Array(counters.mmap())
  t.equal(counters.mmap(), memory.buffer, 'mapped once')
  object.program('count_xdp').testRun({ data: frame(), repeat: 4 })
  t.equal(memory[0], 4n, 'the program’s count is seen in memory')
  memory[(599 * counters.strideBytes) / 8] = 42n
  t.equal(counters.lookup(u32(599))?.readBigUInt64LE(), 42n, 'a store is seen by the kernel')
  memory[0] = 1000n
  object.program('count_xdp').testRun({ data: frame() })
  t.equal(memory[0], 1001n, 'and by the program')
  object.close()
  t.equal(memory[0], 1001n, 'the memory outlives the descriptor')
  t.throws(() => openCounter().load().map('table').mmap(), { code: 'unsupported', message: /BPF_F_MMAPABLE/ })
  t.end()
})

t.test('a map tells the memory that it takes', (t) => {
  const map = createMap({ name: 'sized', type: 'array', keySize: 4, valueSize: 8, maxEntries: 100_000 })
  t.ok(map.memoryBytes >= 800_000 && map.memoryBytes < 1_000_000, `${map.memoryBytes} bytes`)
  map.close()
  t.throws(() => map.memoryBytes, { code: 'closed' })
  t.end()
})

t.test('per-CPU values have one slot for each possible CPU', (t) => {
  const object = openCounter().load()
  object.program('count_xdp').testRun({ data: frame(), repeat: 3 })
  const runs = object.map('runs')
  const value = runs.lookup(u32(0))
  t.equal(value?.length, 8 * POSSIBLE_CPUS)
  const perCpu = runs.splitPerCpu(value ?? Buffer.alloc(0)).map((one) => one.readUInt32LE())
  t.equal(
    perCpu.reduce((sum, one) => sum + one, 0),
    3,
  )
  object.close()
  t.end()
})

t.test('pinned maps and programs are opened again, and taken over by the next load', (t) => {
  const pins = pinDirectory('pins')
  t.teardown(pins.remove)
  const path = `${pins.path}/deep/counters`
  const load = () => {
    const spec = openCounter()
    spec.map('counters').setPinPath(path)
    spec.loadOnly(['count_xdp'])
    return spec.load()
  }
  const first = load()
  t.equal(first.map('counters').adopted, false)
  first.map('counters').update(u32(5), counterValue(55))
  first.program('count_xdp').pin(`${pins.path}/program`)
  t.throws(() => first.program('count_xdp').pin(`${pins.path}/program`), { code: 'exists' })
  const id = first.map('counters').info.id
  first.close()

  const second = load()
  t.equal(second.map('counters').adopted, true)
  t.equal(second.map('counters').info.id, id)
  t.equal(second.map('counters').lookup(u32(5))?.readBigUInt64LE(), 55n)
  second.close()

  const program = BpfProgram.openPinned(`${pins.path}/program`)
  program.testRun({ data: frame() })
  const map = BpfMap.openPinned(path)
  t.equal(map.lookup(u32(0))?.readBigUInt64LE(), 1n)
  t.equal(BpfMap.openPinnedIfAny(`${pins.path}/absent`), undefined)
  t.throws(() => BpfMap.openPinned(`${pins.path}/absent`), { code: 'not-found' })

  const spec = openCounter()
  spec.map('counters').reuse(map)
  const third = spec.load()
  t.equal(third.map('counters').info.id, id)
  third.close()

  const resized = openCounter()
  resized.map('counters').setMaxEntries(10)
  resized.map('counters').setPinPath(path)
  t.throws(() => resized.load(), { code: 'invalid', message: /parameter mismatch/ })
  t.ok(existsSync(path))
  program.close()
  map.close()
  t.end()
})

t.test('a loaded map is compared with the expected layout, and a difference names the field', (t) => {
  const object = openCounter().load()
  const counters = object.map('counters')
  const layout = mapLayout(counters)
  if (!layout) throw new Error('the map has no types')
  t.match(layout.value.fields[1], { path: 'port', bitOffset: 64, type: 'be16' })
  checkMapLayout(counters, layout)
  const withField = (index: number, change: object) => ({
    ...layout.value,
    hash: 'other',
    fields: layout.value.fields.map((field, i) => (i === index ? { ...field, ...change } : field)),
  })
  const cases: [string, object, RegExp][] = [
    [
      'moved',
      withField(1, { bitOffset: 80 }),
      /value counter: field port is be16 at byte 8, .* instead of be16 at byte 10/,
    ],
    ['other byte order', withField(1, { type: 'u16' }), /field port is be16 .* instead of u16/],
    ['renamed', withField(0, { path: 'frames' }), /field frames .* is missing/],
    [
      'shorter',
      { ...layout.value, hash: 'x', fields: layout.value.fields.slice(0, 2) },
      /field pad0 .* is not known here/,
    ],
    ['other size', { ...layout.value, hash: 'x', sizeBytes: 24 }, /its size is 16 bytes instead of 24/],
  ]
  for (const [name, value, message] of cases) {
    t.throws(
      () => checkMapLayout(counters, { value: value as typeof layout.value }),
      { code: 'layout', message },
      name,
    )
  }
  t.equal(layoutDifference(layout.value, layout.value), undefined)
  const untyped = createMap({ name: 'untyped', type: 'hash', keySize: 4, valueSize: 4, maxEntries: 1 })
  t.throws(() => checkMapLayout(untyped, layout), { code: 'layout', message: /holds no types/ })
  untyped.close()
  object.close()
  t.end()
})

t.test('any map is dumped by the types the kernel holds for it', (t) => {
  const object = openCounter().load()
  const table = object.map('table')
  table.update(u64(3), counterValue(9, 443))
  t.strictSame([...dumpMap(table)], [{ key: 3n, value: { packets: 9n, port: 443, pad0: '000000000000' } }])
  const [runs] = [...dumpMap(object.map('runs'))]
  t.match(
    runs?.value,
    Array.from({ length: POSSIBLE_CPUS }, () => 0),
  )
  const prefixes = object.map('prefixes')
  prefixes.update(Buffer.from([8, 0, 0, 0, 10, 0, 0, 0]), u32(7))
  t.equal([...dumpMap(prefixes)].length, 1)
  object.close()
  t.end()
})

t.test('mapped memory is given back once nothing refers to it', (t) => {
  const child = fileURLToPath(new URL('./unmap-child.ts', import.meta.url))
  const result = JSON.parse(execFileSync(process.execPath, ['--expose-gc', child], { encoding: 'utf8' }))
  t.ok(result.before > 1)
  t.ok(result.after <= 1, `${result.after} of ${result.before} mappings are left`)
  t.end()
})

t.test('maps and programs are found by id, and the kernel’s own types are read', (t) => {
  const spec = openCounter()
  spec.loadOnly(['allow_connect4', 'count_tc'])
  t.equal(spec.program('allow_connect4').attachType, 'cgroup_inet4_connect')
  const object = spec.load()
  const program = BpfProgram.fromId(object.program('count_tc').info().id)
  t.equal(program.name, 'count_tc')
  t.equal(program.info().tag, object.program('count_tc').info().tag)
  const map = BpfMap.fromId(object.map('table').info.id)
  t.equal(map.name, 'table')
  program.close()
  map.close()
  object.close()
  t.ok((findType(readKernelBtf(), 'struct', 'sk_buff') ?? 0) > 0)
  t.end()
})
