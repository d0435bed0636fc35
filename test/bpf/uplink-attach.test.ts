// Where uplinks carry our programs: XDP where it can be, tc where it cannot or is not wanted; what is somebody else's stays.

import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Attachments, type UplinkPrograms } from '../../src/datapath/attach.ts'
import { CLSACT_PLACE } from '../../src/datapath/attach-pins.ts'
import {
  attachXdp,
  type BpfProgram,
  listLinks,
  openObject,
  queryClsact,
  queryXdp,
} from '../../src/sys/libbpf-ts/index.ts'
import { attachBed } from './attach-bed.ts'

const build = (name: string) => new URL(`../../build/bpf/${name}`, import.meta.url).pathname
const IFINDEX = 11

function load(test: Test, file: string) {
  const object = openObject(build(file)).load()
  test.teardown(() => object.close())
  return object
}

function loadPrograms(test: Test, ingressAlways = false): UplinkPrograms {
  const tc = load(test, 'weir_uplink_tc.bpf.o')
  return {
    xdp: load(test, 'weir_xdp.bpf.o').program('weir_uplink_xdp'),
    ingress: tc.program('weir_uplink_ingress'),
    egress: tc.program('weir_uplink_egress'),
    behindXdp: ingressAlways ? tc.program('weir_uplink_ingress') : undefined,
  }
}

function makeBed(test: Test, name: string) {
  const { ip, inside, bpffs } = attachBed(test, name)
  const veth = ['link', 'add', 'up.0', 'index', String(IFINDEX), 'type', 'veth', 'peer', 'far']
  ip(...veth)
  const idOf = (program: BpfProgram) => program.info().id
  /** What the device carries of these programs. */
  const carried = (programs: UplinkPrograms) =>
    inside(() => {
      const ids = new Set(listLinks().flatMap((link) => (link.ifindex === IFINDEX ? [link.programId] : [])))
      const has = (program: BpfProgram, direction: 'ingress' | 'egress') =>
        ids.has(idOf(program)) ||
        queryClsact({ ifindex: IFINDEX, direction, ...CLSACT_PLACE }) === idOf(program)
      return {
        xdp: ids.has(idOf(programs.xdp)),
        ingress: has(programs.ingress, 'ingress'),
        egress: has(programs.egress, 'egress'),
      }
    })
  return { inside, bpffs, carried, pins: () => readdirSync(`${bpffs}/links`).sort() }
}

const AT_XDP = { xdp: true, ingress: false, egress: true }
const AT_TC = { xdp: false, ingress: true, egress: true }

for (const usesTcx of [true, false])
  t.test(usesTcx ? 'by tcx' : 'without tcx', async (t) => {
    const bed = makeBed(t, usesTcx ? 'uptcx' : 'upcls')
    const [old, young] = [loadPrograms(t), loadPrograms(t)]
    const attach = (programs: UplinkPrograms, choice: 'auto' | 'xdp' | 'tc') => {
      const attachments = new Attachments(bed.bpffs, usesTcx)
      bed.inside(() => attachments.attachUplink(programs, 'up.0', IFINDEX, choice))
      return attachments
    }

    const first = attach(old, 'auto')
    t.same(bed.carried(old), AT_XDP)
    t.same(first.uplinks.get(IFINDEX), { name: 'up.0', hook: 'xdp', reason: undefined })
    first.close()

    const second = attach(young, 'tc')
    t.same(bed.carried(young), AT_TC, 'moved by configuration')
    t.same(bed.carried(old), { xdp: false, ingress: false, egress: false })
    t.match(second.uplinks.get(IFINDEX), { hook: 'tc', reason: /uplinkHook/ })
    const told = bed
      .inside(() => second.programs)
      .map(({ hook, ifindex, program, programId, linkId }) => ({
        hook,
        ifindex,
        program,
        programId,
        isLink: linkId !== undefined,
      }))
    const row = (direction: 'ingress' | 'egress') => ({
      hook: `${usesTcx ? 'tcx' : 'clsact'}_${direction}`,
      ifindex: IFINDEX,
      program: `weir_uplink_${direction}`,
      programId: young[direction].info().id,
      isLink: usesTcx,
    })
    t.same(told, [row('egress'), row('ingress')], 'and told, with numbers')
    second.close()

    const third = attach(old, 'auto')
    t.same(bed.carried(old), AT_XDP, 'and back')
    t.same(bed.carried(young), { xdp: false, ingress: false, egress: false })
    const pins = usesTcx ? ['tc_egress_up_0', 'xdp_up_0'] : ['clsact_egress_11', 'clsact_made_11', 'xdp_up_0']
    t.same(bed.pins(), pins)
    third.close()
  })

t.test('a foreign XDP program stays', async (t) => {
  const bed = makeBed(t, 'upforeign')
  const programs = loadPrograms(t)
  const foreign = load(t, 'weir_xdp.bpf.o').program('weir_uplink_xdp')
  const link = bed.inside(() => attachXdp(foreign, IFINDEX, 'native'))
  t.teardown(() => link.close())
  const holder = () => bed.inside(() => queryXdp(IFINDEX)?.programId)
  const attachments = new Attachments(bed.bpffs)
  t.throws(
    () => bed.inside(() => attachments.attachUplink(programs, 'up.0', IFINDEX, 'xdp')),
    'XDP or nothing',
  )
  t.equal(holder(), foreign.info().id)
  bed.inside(() => attachments.attachUplink(programs, 'up.0', IFINDEX, 'auto'))
  t.equal(holder(), foreign.info().id)
  t.same(bed.carried(programs), AT_TC)
  t.match(attachments.uplinks.get(IFINDEX)?.reason, new RegExp(`program .*${foreign.info().id}|busy|EBUSY`))
  t.same(
    bed.inside(() => attachments.verify(new Set([IFINDEX]))),
    [],
  )
  attachments.close()
})

t.test('on a veth tc stands behind XDP', async (t) => {
  const bed = makeBed(t, 'upveth')
  const programs = loadPrograms(t, true)
  const attachments = new Attachments(bed.bpffs)
  bed.inside(() => attachments.attachUplink(programs, 'up.0', IFINDEX, 'auto'))
  t.same(bed.carried(programs), { xdp: true, ingress: true, egress: true })
  t.equal(attachments.uplinks.get(IFINDEX)?.hook, 'xdp')
  attachments.close()
})
