// Where pods are among a node's cgroups, by both of the kubelet's drivers.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findKubepods, podCgroups, processesIn } from '../../../src/agent/kubepods.ts'

const UID = ['11111111-2222-3333-4444-555555555555', '66666666-7777-8888-9999-000000000000'] as const
const HASH = '0123456789abcdef0123456789abcdef'
const [FIRST, SECOND] = UID
const escaped = (uid: string) => uid.replaceAll('-', '_')

const CASES = {
  cgroupfs: {
    root: ['kubepods'],
    pods: {
      [FIRST]: `kubepods/pod${FIRST}`,
      [SECOND]: `kubepods/besteffort/pod${SECOND}`,
      [HASH]: `kubepods/burstable/pod${HASH}`,
    },
  },
  systemd: {
    root: ['kubepods.slice'],
    pods: {
      [FIRST]: `kubepods.slice/kubepods-pod${escaped(FIRST)}.slice`,
      [SECOND]: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${escaped(SECOND)}.slice`,
    },
  },
  'a kubelet with a root of its own': {
    root: ['kubelet.slice/kubelet-kubepods.slice'],
    pods: {
      [SECOND]: `kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${escaped(SECOND)}.slice`,
    },
  },
  'a driver that was changed': {
    root: ['kubepods', 'kubepods.slice'],
    pods: { [SECOND]: `kubepods.slice/kubepods-pod${escaped(SECOND)}.slice` },
  },
  'cgroups without a uid in their name': {
    root: ['kubepods'],
    pods: {},
    others: ['kubepods/podman', 'kubepods/x'],
  },
  'no kubelet': { root: [], pods: {}, others: ['system.slice/a.service', 'user.slice'] },
} as const

for (const [name, { root, pods, ...more }] of Object.entries(CASES))
  t.test(name, async (t) => {
    const mount = t.testdir({})
    for (const path of [...root, ...Object.values(pods), ...('others' in more ? more.others : [])])
      mkdirSync(join(mount, path), { recursive: true })
    const roots = findKubepods(mount)
    t.strictSame(
      [...roots].sort(),
      root.map((path) => join(mount, path)),
    )
    t.strictSame(
      Object.fromEntries(podCgroups(roots)),
      Object.fromEntries(Object.entries(pods).map(([uid, path]) => [uid, join(mount, path)])),
    )
  })

t.test('processes of a pod are in its containers’ cgroups', async (t) => {
  const mount = t.testdir({
    'cgroup.procs': '',
    a: { 'cgroup.procs': '12\n13\n' },
    b: { c: { 'cgroup.procs': '0\n' } },
  })
  writeFileSync(join(mount, 'cgroup.events'), 'populated 1\n')
  t.strictSame([...processesIn(mount)].sort(), [0, 12, 13])
  t.strictSame(processesIn(join(mount, 'gone')), [])
})
