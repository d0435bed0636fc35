import t from 'tap'
import { KubeError } from '../../../../src/kube/errors.ts'
import type { Container, Pod } from '../../../../src/kube/objects.ts'
import { expandVariables, programOf } from '../../../../src/sandbox/controllers/pod-command.ts'
import { type ContainerFacts, podStatus } from '../../../../src/sandbox/controllers/pod-status.ts'
import { createWorkQueue } from '../../../../src/sandbox/controllers/work-queue.ts'
import { NOW, pod } from './objects.ts'

const BUILT_INS = { node: '/bin/node', netexec: '/netexec.mjs' }
const FACTS = { podIps: ['10.1.1.2', 'fd00::2'], hostIps: ['10.255.0.1'] }

t.test('what a container runs', async (t) => {
  const agnhost = 'registry.example/tests/agnhost:2.56'
  const netexec = [BUILT_INS.node, '--max-semi-space-size=1', BUILT_INS.netexec]
  const cases: [string, Omit<Container, 'name'>, string[] | undefined][] = [
    [
      'agnhost netexec by args',
      { image: agnhost, args: ['netexec', '--http-port=80'] },
      [...netexec, '--http-port=80'],
    ],
    ['agnhost by command', { image: agnhost, command: ['/agnhost', 'netexec'] }, netexec],
    ['agnhost alone pauses', { image: agnhost }, ['sleep', 'infinity']],
    ['pause', { image: 'registry.example/pause:3.10' }, ['sleep', 'infinity']],
    [
      'any command as given',
      { image: 'x', command: ['sh', '-c'], args: ['echo $(HOSTNAME)'] },
      ['sh', '-c', 'echo web-1'],
    ],
    ['args without a command', { image: 'x', args: ['nc', '-l'] }, ['nc', '-l']],
    ['nothing to run', { image: 'nginx' }, undefined],
    ['an agnhost command that is not built in', { image: agnhost, args: ['dns-suffix'] }, undefined],
  ]
  for (const [name, container, argv] of cases) {
    t.same(programOf(pod('web-1'), { name: 'c', ...container }, FACTS, BUILT_INS)?.argv, argv, name)
  }
})

t.test('environment', async (t) => {
  const field = (fieldPath: string) => ({ fieldRef: { fieldPath } })
  const container: Container = {
    name: 'c',
    command: ['x'],
    env: [
      { name: 'IP', valueFrom: field('status.podIP') },
      { name: 'IPS', valueFrom: field('status.podIPs') },
      { name: 'NODE', valueFrom: field('spec.nodeName') },
      { name: 'APP', valueFrom: field("metadata.labels['app']") },
      { name: 'HOST', valueFrom: field('status.hostIP') },
      { name: 'URL', value: 'http://$(IP):80/$(MISSING)' },
    ],
  }
  t.match(programOf(pod('web-1'), container, FACTS, BUILT_INS)?.env, {
    HOSTNAME: 'web-1',
    IP: '10.1.1.2',
    IPS: '10.1.1.2,fd00::2',
    NODE: 'node1',
    APP: 'web',
    HOST: '10.255.0.1',
    URL: 'http://10.1.1.2:80/$(MISSING)',
  })
  t.equal(expandVariables('$$(A) $(A) $(B)', { A: '1' }), '$(A) 1 $(B)')
})

function facts(more: Partial<ContainerFacts> = {}): ContainerFacts {
  return {
    container: { name: 'c' },
    isInit: false,
    state: 'running',
    startedMs: NOW,
    restartCount: 0,
    ready: true,
    ...more,
  }
}

t.test('phase and conditions', async (t) => {
  const end = (exitCode: number) => ({
    state: 'ended' as const,
    ready: false,
    end: { exitCode, finishedMs: NOW, startedMs: NOW },
  })
  const policy = (restartPolicy: 'Always' | 'OnFailure' | 'Never', more: object = {}): Pod =>
    pod('p', { spec: { restartPolicy }, ...more })
  const init = (more: Partial<ContainerFacts>) => facts({ isInit: true, ...more })
  const cases: [string, Pod, ContainerFacts[], string][] = [
    ['running and ready', policy('Always'), [facts()], 'Running Initialized ContainersReady Ready'],
    ['running, not ready', policy('Always'), [facts({ ready: false })], 'Running Initialized'],
    ['one of two ready', policy('Always'), [facts(), facts({ ready: false })], 'Running Initialized'],
    ['creating', policy('Always'), [facts({ state: 'waiting', ready: false })], 'Pending Initialized'],
    [
      'crash loop',
      policy('Always'),
      [facts({ state: 'waiting', ready: false, lastEnd: end(1).end })],
      'Running Initialized',
    ],
    [
      'init running',
      policy('Always'),
      [init({ ready: false }), facts({ state: 'waiting', ready: false })],
      'Pending',
    ],
    [
      'init done',
      policy('Always'),
      [init({ ...end(0), ready: true }), facts()],
      'Running Initialized ContainersReady Ready',
    ],
    [
      'init failed for good',
      policy('Never'),
      [init(end(1)), facts({ state: 'waiting', ready: false })],
      'Failed',
    ],
    [
      'sidecar not ready',
      policy('Always'),
      [init({ container: { name: 's', restartPolicy: 'Always' }, ready: false }), facts()],
      'Running Initialized',
    ],
    ['succeeded', policy('Never'), [facts(end(0))], 'Succeeded Initialized'],
    ['failed', policy('Never'), [facts(end(3))], 'Failed Initialized'],
    ['on failure, failed: will restart', policy('OnFailure'), [facts(end(3))], 'Running Initialized'],
    ['ended on deletion', policy('Always', { terminating: true }), [facts(end(0))], 'Succeeded Initialized'],
    [
      'a closed readiness gate',
      pod('p', { spec: { readinessGates: [{ conditionType: 'x/y' }] } }),
      [facts()],
      'Running Initialized ContainersReady',
    ],
  ]
  for (const [name, object, containers, expected] of cases) {
    object.status = {}
    const status = podStatus(object, {
      addresses: ['10.1.1.2'],
      hostAddresses: ['10.255.0.1'],
      startedMs: NOW,
      containers,
      nowMs: NOW,
    })
    const open = (status.conditions ?? [])
      .filter((condition) => condition.status === 'True')
      .map(({ type }) => type)
    t.equal([status.phase, ...open.filter((type) => type !== 'PodScheduled')].join(' '), expected, name)
  }
})

t.test('foreign conditions and addresses are told', async (t) => {
  const object = pod('p', { spec: { readinessGates: [{ conditionType: 'x/y' }] } })
  object.status = { conditions: [{ type: 'x/y', status: 'True' }] }
  const status = podStatus(object, {
    addresses: ['10.1.1.2', 'fd00::2'],
    hostAddresses: ['10.255.0.1', 'fd00:255::1'],
    startedMs: NOW,
    containers: [facts({ pid: 7, restartCount: 2 })],
    nowMs: NOW,
  })
  t.match(status, {
    podIP: '10.1.1.2',
    podIPs: [{ ip: '10.1.1.2' }, { ip: 'fd00::2' }],
    hostIP: '10.255.0.1',
    startTime: '2026-01-01T00:00:00Z',
    containerStatuses: [
      {
        name: 'c',
        ready: true,
        restartCount: 2,
        containerID: 'weir://7',
        state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
      },
    ],
  })
  t.equal(status.conditions?.find(({ type }) => type === 'x/y')?.status, 'True')
  t.equal(status.conditions?.find(({ type }) => type === 'Ready')?.status, 'True')
})

t.test('work queue: one worker per key, again when added meanwhile, retries with delay', async (t) => {
  const seen: string[] = []
  let active = 0
  let failures = 2
  const queue = createWorkQueue({
    name: 'q',
    log: () => {},
    reconcile: async (key) => {
      t.equal(++active, 1)
      seen.push(key)
      if (seen.length === 1) queue.add(key)
      await new Promise((resolve) => setTimeout(resolve, 5))
      active--
      if (key === 'bad' && failures-- > 0) throw new KubeError('conflict', 'x')
    },
  })
  t.teardown(() => queue.close())
  queue.add('a')
  queue.add('a')
  t.same(seen, [], 'nothing runs before start')
  queue.start()
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.same(seen, ['a', 'a'])
  queue.add('bad')
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.same(seen.slice(2), ['bad', 'bad', 'bad'])
})
