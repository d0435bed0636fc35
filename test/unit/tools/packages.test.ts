// How daemons of freshly installed packages are kept from starting, and what a machine is left with.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { completeLock, platformOf } from '../../../tools/complete-lock.mjs'
import { policyText, restorePolicy, withoutDaemonStarts } from '../../../tools/packages.mjs'

function directoryOf(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'weir-policy-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  return directory
}

const ask = (directory: string) => spawnSync(join(directory, 'policy-rc.d'), ['gobgpd', 'start']).status

t.test('starts are refused during the installation, and only then', async (t) => {
  const directory = directoryOf(t)
  t.equal(
    withoutDaemonStarts(['gobgpd'], () => ask(directory), directory),
    101,
  )
  t.same(readdirSync(directory), [])
  t.throws(
    () =>
      withoutDaemonStarts(
        ['gobgpd'],
        () => {
          throw new Error('apt failed')
        },
        directory,
      ),
    /apt failed/,
  )
  t.same(readdirSync(directory), [], 'nor does a failed one leave anything')
})

t.test('a policy that was there comes back as it was', async (t) => {
  const directory = directoryOf(t)
  const own = '#!/bin/sh\nexit 42\n'
  writeFileSync(join(directory, 'policy-rc.d'), own, { mode: 0o755 })
  t.equal(
    withoutDaemonStarts(['frr'], () => ask(directory), directory),
    101,
  )
  t.same(readdirSync(directory), ['policy-rc.d'])
  t.equal(ask(directory), 42)
})

t.test('after an installer was killed, starts are allowed again, and the next run mends', async (t) => {
  const directory = directoryOf(t)
  const [file, saved] = [join(directory, 'policy-rc.d'), join(directory, 'policy-rc.d.before-weir')]
  const dead = spawnSync('true').pid
  writeFileSync(file, policyText(dead, saved, ['frr', 'bird2']), { mode: 0o755 })
  t.equal(ask(directory), 0, 'without a policy of its own')
  writeFileSync(saved, '#!/bin/sh\nexit 42\n', { mode: 0o755 })
  t.equal(ask(directory), 42, 'with one')
  t.same(restorePolicy(directory), ['frr', 'bird2'], 'whose daemons are still to be disabled')
  t.equal(ask(directory), 42)
  t.notOk(existsSync(saved))
  t.same(restorePolicy(directory), [], 'nothing to do the second time')
})

t.test('a policy written after the killed run is newer than the saved one', async (t) => {
  const directory = directoryOf(t)
  writeFileSync(join(directory, 'policy-rc.d.before-weir'), 'old')
  writeFileSync(join(directory, 'policy-rc.d'), 'new')
  t.same(restorePolicy(directory), [])
  t.equal(readFileSync(join(directory, 'policy-rc.d'), 'utf8'), 'new')
})

t.test('the platform of a package is told by its name', async (t) => {
  const cases = [
    ['@a/cli-linux-x64-musl', { os: ['linux'], cpu: ['x64'], libc: ['musl'] }],
    ['@a/binding-linux-arm-gnueabihf', { os: ['linux'], cpu: ['arm'], libc: ['glibc'] }],
    ['@a/buf-linux-armv7', { os: ['linux'], cpu: ['arm'] }],
    ['@a/buf-win32-arm64', { os: ['win32'], cpu: ['arm64'] }],
    ['@a/binding-wasm', undefined],
  ] as const
  for (const [name, platform] of cases) t.same(platformOf(name), platform, name)
})

t.test('a lock gets its missing optional packages, keeps the rest, and is complete then', async (t) => {
  const tool = {
    version: '1.2.3',
    dev: true,
    optionalDependencies: { 'tool-linux-x64': '1.2.3', 'tool-win32-x64': '1.2.3' },
  }
  const lock = {
    name: 'x',
    packages: {
      '': { name: 'x' },
      'node_modules/tool': tool,
      'node_modules/tool/node_modules/tool-linux-x64': {
        version: '1.2.3',
        resolved: 'https://registry.example/x',
      },
    },
  }
  const { lock: complete, added } = completeLock(lock)
  t.same(added, ['tool-win32-x64'])
  t.same(complete.packages['node_modules/tool-win32-x64'], {
    version: '1.2.3',
    cpu: ['x64'],
    dev: true,
    optional: true,
    os: ['win32'],
  })
  t.notMatch(JSON.stringify(complete), 'registry.example')
  t.same(completeLock(complete).added, [])
})
