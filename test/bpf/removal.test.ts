// `weir uninstall`'s half in the kernel: everything of ours goes, by tcx and by classifiers, and nothing of others.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Attachments, type UplinkPrograms } from '../../src/datapath/attach.ts'
import { removeAttachments, removeMaps, removeQdiscs } from '../../src/datapath/removal.ts'
import {
  attachClsact,
  type BpfProgram,
  createMap,
  makePinDirectory,
  openObject,
  queryClsact,
  queryTcx,
  queryXdpProgram,
} from '../../src/sys/libbpf-ts/index.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { Netlink } from '../../src/sys/node-netlink/netlink.ts'

const BUILT = new URL('../../build/bpf/', import.meta.url).pathname
const UPLINK = 11
const PODS = [12, 13] as const

function load(t: Test, file: string): ReadonlyMap<string, BpfProgram> {
  const object = openObject(`${BUILT}${file}`).load()
  t.teardown(() => object.close())
  return object.programs
}

function programOf(programs: ReadonlyMap<string, BpfProgram>, name: string): BpfProgram {
  const program = programs.get(name)
  if (!program) throw new TypeError(`no program ${name}`)
  return program
}

function uplinkPrograms(t: Test): UplinkPrograms {
  const tc = load(t, 'weir_uplink_tc.bpf.o')
  return {
    xdp: programOf(load(t, 'weir_xdp.bpf.o'), 'weir_uplink_xdp'),
    ingress: programOf(tc, 'weir_uplink_ingress'),
    behindXdp: programOf(tc, 'weir_uplink_ingress'),
    egress: programOf(tc, 'weir_uplink_egress'),
  }
}

function makeBed(t: Test, name: string) {
  const namespace = `weir-t${process.pid}-${name}`
  const bpffs = `/sys/fs/bpf/weir-test-${name}-${process.pid}`
  execFileSync('ip', ['netns', 'add', namespace])
  const ip = (...args: string[]) => execFileSync('ip', ['-n', namespace, ...args])
  for (const index of [UPLINK, ...PODS])
    ip('link', 'add', `d${index}`, 'index', String(index), 'type', 'veth', 'peer', `far${index}`)
  const netlink = new Netlink({ namespacePath: `/run/netns/${namespace}` })
  t.teardown(() => {
    netlink.close()
    execFileSync('ip', ['netns', 'delete', namespace])
    rmSync(bpffs, { recursive: true, force: true })
  })
  return {
    bpffs,
    netlink,
    ip,
    inside: <T>(action: () => T) => withNetworkNamespace(`/run/netns/${namespace}`, action),
  }
}

for (const usesTcx of [true, false])
  t.test(
    `OPS-009 everything goes, ${usesTcx ? 'by tcx' : 'by classifiers'}, and nothing of others`,
    async (t) => {
      const { bpffs, netlink, inside } = makeBed(t, usesTcx ? 'gonetcx' : 'goneclsact')
      const tc = load(t, 'weir_tc.bpf.o')
      const pod = programOf(tc, 'weir_pod_tc')
      const theirs = programOf(load(t, 'weir_tc.bpf.o'), 'weir_pod_tc')
      const theirPlace = { ifindex: PODS[1], direction: 'ingress', priority: 9, handle: 9 } as const
      inside(() => attachClsact(theirs, theirPlace))
      const attachments = new Attachments(bpffs, usesTcx)
      const uplink = uplinkPrograms(t)
      inside(() => {
        attachments.attachUplink(uplink, `d${UPLINK}`, UPLINK, 'auto')
        attachments.attachPods(pod, new Set(PODS))
      })
      attachments.close()
      makePinDirectory(`${bpffs}/maps`)
      const map = createMap({ name: 'ours', type: 'array', keySize: 4, valueSize: 4, maxEntries: 1 })
      map.pin(`${bpffs}/maps/ours_v1_1`)
      map.close()
      // A sandbox's pins lie below the same prefix.
      mkdirSync(`${bpffs}/racks`)

      const run = async (isDryRun: boolean) => [
        ...inside(() => removeAttachments(bpffs, isDryRun)),
        ...(await removeQdiscs(bpffs, netlink, isDryRun)),
        ...removeMaps(bpffs, isDryRun),
      ]
      const planned = await run(true)
      t.ok(
        inside(() => queryXdpProgram(UPLINK)),
        'a dry run leaves all',
      )
      t.strictSame(await run(false), planned)
      t.equal(
        inside(() => queryXdpProgram(UPLINK)),
        undefined,
      )
      for (const index of [UPLINK, ...PODS])
        for (const direction of ['ingress', 'egress'] as const)
          t.strictSame(
            inside(() => queryTcx(index, direction)),
            [],
            `tcx ${direction} of ${index}`,
          )
      t.equal(
        inside(() => queryClsact(theirPlace)),
        theirs.info().id,
        'their classifier stays',
      )
      const qdiscs = (await netlink.trafficControl.qdiscs()).filter(({ kind }) => kind === 'clsact')
      t.strictSame(
        qdiscs.map(({ index }) => index),
        [PODS[1]],
        'and its qdisc',
      )
      t.notOk(existsSync(`${bpffs}/links`))
      t.notOk(existsSync(`${bpffs}/maps`))
      t.ok(existsSync(`${bpffs}/racks`), 'what others keep below the prefix stays')
      t.strictSame(await run(false), [], 'nothing is left to do')
    },
  )

t.test(
  'OPS-008 a device that is made anew by the same name, or the same index, is attached again',
  async (t) => {
    const { bpffs, ip, inside } = makeBed(t, 'anew')
    const uplink = uplinkPrograms(t)
    const attachments = new Attachments(bpffs, true)
    t.teardown(() => attachments.close())
    const attach = (index: number) =>
      inside(() => {
        attachments.keepUplinks(new Set([index]))
        attachments.attachUplink(uplink, `d${UPLINK}`, index, 'auto')
      })
    const make = (index: number) =>
      ip('link', 'add', `d${UPLINK}`, 'index', String(index), 'type', 'veth', 'peer', `far${UPLINK}`)
    attach(UPLINK)
    for (const index of [UPLINK, 40]) {
      ip('link', 'delete', `d${UPLINK}`)
      make(index)
      // Of the same index nobody hears by the index; the link tells that its device is gone.
      inside(() => attachments.verify(new Set([index])))
      attach(index)
      t.equal(
        inside(() => queryXdpProgram(index)),
        uplink.xdp.info().id,
        `index ${index}`,
      )
    }
  },
)
