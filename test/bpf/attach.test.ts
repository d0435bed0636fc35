// Pods' devices carry exactly our program: by tcx, and by a classifier where the kernel has no tcx; from one process to the
// next, and from one of the two ways to the other.

import { existsSync, readdirSync, rmSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Attachments } from '../../src/datapath/attach.ts'
import { verifyMapPins } from '../../src/datapath/pinned-maps.ts'
import {
  BpfLink,
  type BpfProgram,
  createMap,
  detachClsact,
  listLinks,
  makePinDirectory,
  openObject,
  queryClsact,
  unpin,
} from '../../src/sys/libbpf-ts/index.ts'
import { attachBed } from './attach-bed.ts'

const OBJECT = new URL('../../build/bpf/weir_tc.bpf.o', import.meta.url).pathname
const CLSACT = { direction: 'ingress', priority: 0x5745, handle: 1 } as const

/** A program of its own, as each version of the agent brings one. */
function loadProgram(test: Test): BpfProgram {
  const object = openObject(OBJECT).load()
  test.teardown(() => object.close())
  return object.program('weir_pod_tc')
}

interface Bed {
  readonly inside: <T>(action: () => T) => T
  readonly bpffs: string
  readonly pods: readonly [number, number]
  readonly deleteSecond: () => void
}

function makeBed(test: Test, name: string): Bed {
  const { ip, inside, bpffs } = attachBed(test, name)
  for (const [index, device] of [
    [11, 'one'],
    [12, 'two'],
  ] as const)
    ip('link', 'add', device, 'index', String(index), 'type', 'veth', 'peer', `${device}-far`)
  return {
    inside,
    bpffs,
    pods: [11, 12],
    deleteSecond: () => ip('link', 'delete', 'two'),
  }
}

/** Ids of our programs on a device: by classifier and by tcx. */
function carried({ inside }: Bed, ifindex: number, programs: readonly BpfProgram[]) {
  const ids = new Set(programs.map((program) => program.info().id))
  const classifier = inside(() => queryClsact({ ifindex, ...CLSACT }))
  const links = listLinks().filter((link) => link.ifindex === ifindex && ids.has(link.programId))
  return { clsact: classifier, tcx: links[0]?.programId }
}

for (const usesTcx of [false, true])
  t.test(usesTcx ? 'by tcx' : 'without tcx', async (t) => {
    const bed = makeBed(t, usesTcx ? 'tcx' : 'clsact')
    const [one, two] = bed.pods
    const [old, young] = [loadProgram(t), loadProgram(t)]
    const on = (ifindex: number) => carried(bed, ifindex, [old, young])
    const by = (program?: BpfProgram) =>
      usesTcx
        ? { clsact: undefined, tcx: program?.info().id }
        : { clsact: program?.info().id, tcx: undefined }
    const pins = () =>
      readdirSync(`${bed.bpffs}/links`)
        .filter((pin) => !pin.startsWith('clsact_made_'))
        .sort()
    const kind = usesTcx ? 'pod' : 'clsact'

    const first = new Attachments(bed.bpffs, usesTcx)
    bed.inside(() => first.attachPods(old, new Set([one, two])))
    t.same([on(one), on(two)], [by(old), by(old)], 'both pods')
    t.same(pins(), [`${kind}_11`, `${kind}_12`])
    bed.inside(() => first.attachPods(old, new Set([one])))
    t.same([on(one), on(two)], [by(old), by()], 'a device that is no pod any more is left')
    bed.inside(() => first.attachPods(old, new Set([one, two])))

    const second = new Attachments(bed.bpffs, usesTcx)
    bed.inside(() => second.attachPods(young, new Set([one])))
    t.same(
      [on(one), on(two)],
      [by(young), by()],
      'the next process brings its program and leaves what is not wanted',
    )
    t.same(pins(), [`${kind}_11`])

    bed.inside(() => second.attachPods(young, new Set([one, two])))
    bed.deleteSecond()
    bed.inside(() => second.attachPods(young, new Set([one])))
    t.same(pins(), [`${kind}_11`], 'a deleted device leaves no pin')
    t.doesNotThrow(
      () => bed.inside(() => second.attachPods(young, new Set([one, two]))),
      'nor stops the others',
    )

    const other = new Attachments(bed.bpffs, !usesTcx)
    bed.inside(() => other.attachPods(young, new Set([one])))
    const id = young.info().id
    t.same(
      on(one),
      usesTcx ? { clsact: id, tcx: undefined } : { clsact: undefined, tcx: id },
      'the other way replaces it',
    )
    t.same(pins(), [`${usesTcx ? 'clsact' : 'pod'}_11`])
  })

for (const usesTcx of [false, true])
  t.test(`both directions where policy is enforced, ${usesTcx ? 'tcx' : 'classifier'}`, async (t) => {
    const bed = makeBed(t, usesTcx ? 'bothtcx' : 'bothclsact')
    const [one, two] = bed.pods
    const object = openObject(OBJECT).load()
    t.teardown(() => object.close())
    const [program, egress] = [object.program('weir_pod_tc'), object.program('weir_pod_egress_tc')]
    const pins = () => readdirSync(`${bed.bpffs}/links`).filter((pin) => !pin.startsWith('clsact_made_'))
    const [kind, out] = usesTcx ? ['pod', 'pod_egress'] : ['clsact', 'clsact_pod_egress']
    const there = (ifindex: number) =>
      usesTcx
        ? bed
            .inside(() => listLinks())
            .some((link) => link.ifindex === ifindex && link.programId === egress.info().id)
        : bed.inside(() => queryClsact({ ...CLSACT, ifindex, direction: 'egress' })) === egress.info().id

    const first = new Attachments(bed.bpffs, usesTcx)
    bed.inside(() => first.attachPods(program, new Set([one, two]), egress))
    t.same(pins().sort(), [`${kind}_11`, `${kind}_12`, `${out}_11`, `${out}_12`].sort())
    t.same([there(one), there(two)], [true, true])
    bed.inside(() => first.attachPods(program, new Set([one]), egress))
    t.same(pins().sort(), [`${kind}_11`, `${out}_11`].sort())
    t.same([there(one), there(two)], [true, false])
    const second = new Attachments(bed.bpffs, usesTcx)
    bed.inside(() => second.attachPods(program, new Set([one])))
    t.same(pins(), [`${kind}_11`], 'a process without policy takes it away')
    t.notOk(there(one))
  })

for (const usesTcx of [false, true])
  t.test(
    `OPS-008 what somebody takes off a pod's device comes back, ${usesTcx ? 'tcx' : 'classifier'}`,
    async (t) => {
      const bed = makeBed(t, usesTcx ? 'losstcx' : 'lossclsact')
      const [one, two] = bed.pods
      const [ours, foreign] = [loadProgram(t), loadProgram(t)]
      const attachments = new Attachments(bed.bpffs, usesTcx)
      t.teardown(() => attachments.close())
      const all = new Set([one, two])
      const attach = () => bed.inside(() => attachments.attachPods(ours, all))
      const verify = () => bed.inside(() => attachments.verify(all))
      const kind = usesTcx ? 'pod' : 'clsact'
      const what = usesTcx ? `link pod_${one}` : `classifier of device ${one}`
      const id = () => carried(bed, one, [ours])[usesTcx ? 'tcx' : 'clsact']

      attach()
      t.same(verify(), [], 'all is there')
      if (usesTcx) {
        const link = BpfLink.openPinned(`${bed.bpffs}/links/pod_${one}`)
        link.update(foreign)
        t.same(verify(), [{ what, how: 'replaced' }])
        t.equal(id(), ours.info().id)
        link.detach()
        link.close()
      } else bed.inside(() => detachClsact({ ifindex: one, ...CLSACT }))
      t.same(verify(), [{ what, how: 'detached' }])
      attach()
      t.equal(id(), ours.info().id, 'attached again')
      t.same(verify(), [])

      rmSync(`${bed.bpffs}/links`, { recursive: true })
      t.equal(id(), ours.info().id, 'without its pin it goes on')
      const names = [one, two].map((device) =>
        usesTcx ? `link pod_${device}` : `classifier of device ${device}`,
      )
      t.same(new Set(verify()), new Set(names.map((name) => ({ what: name, how: 'unpinned' }))))
      t.ok(existsSync(`${bed.bpffs}/links/${kind}_${two}`), 'pinned again')
      bed.deleteSecond()
      t.same(
        bed.inside(() => attachments.verify(new Set([one]))),
        [],
        'a device that went is nobody’s doing',
      )
    },
  )

t.test('OPS-008 a pin of a map that is removed or leads elsewhere is made anew', async (t) => {
  const directory = `/sys/fs/bpf/weir-test-mappins-${process.pid}`
  makePinDirectory(directory)
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const make = () => createMap({ name: 'ours', type: 'array', keySize: 4, valueSize: 4, maxEntries: 1 })
  const [ours, foreign] = [make(), make()]
  t.teardown(() => {
    ours.close()
    foreign.close()
  })
  const pinned = new Map([[`${directory}/ours`, ours]])
  t.same(verifyMapPins(pinned), [{ what: 'map ours', how: 'unpinned' }])
  t.same(verifyMapPins(pinned), [])
  unpin(`${directory}/ours`)
  foreign.pin(`${directory}/ours`)
  t.same(verifyMapPins(pinned), [{ what: 'map ours', how: 'replaced' }])
  t.same(verifyMapPins(pinned), [])
  rmSync(directory, { recursive: true })
  t.same(verifyMapPins(pinned), [{ what: 'map ours', how: 'unpinned' }], 'the whole directory')
})
