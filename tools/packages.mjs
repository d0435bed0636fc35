// Debian packages: which ones the rack and the tests need, and how they get in without starting a daemon.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

const POLICY_FILE = '/usr/sbin/policy-rc.d'
const POLICY_SAVED = '/usr/sbin/policy-rc.d.before-weir'
const POLICY_MARK = '# written by weir while it installs packages'

/** Each entry is a list of alternatives; the first that the machine has or can install counts. */
const NEEDED = [
  ['clang-19', 'clang-18', 'clang-16', 'clang'],
  ['clang-format-19', 'clang-format-18', 'clang-format'],
  ['llvm-19', 'llvm-18', 'llvm'],
  ['libbpf-dev'],
  ['libbpf1', 'libbpf0'],
  ['linux-libc-dev'],
  ['bpftool', 'linux-tools-common'],
  ['gobgpd'],
  ['frr'],
  ['bird2'],
  ['iproute2'],
  ['ethtool'],
  ['iputils-ping'],
  ['tcpdump'],
  ['curl'],
  ['openssl'],
  ['unzip'],
  ['util-linux'],
  ['procps'],
  ['kmod'],
]

/** Daemons that the packages would start at boot. They run only inside the rack, so they are disabled if we brought them. */
const DAEMONS = { gobgpd: ['gobgpd'], frr: ['frr'], bird2: ['bird', 'bird6'] }

export class PackageError extends Error {}

function isInstalled(name) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholder
  const query = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' })
  return query.status === 0 && query.stdout.trim() === 'installed'
}

function hasCandidate(name) {
  const policy = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8' })
  const candidate = /Candidate:\s*(\S+)/.exec(policy.stdout ?? '')?.[1]
  return candidate !== undefined && candidate !== '(none)'
}

function run(command, args, environment = {}) {
  const child = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...environment },
  })
  return { ok: child.status === 0, output: `${child.stdout ?? ''}${child.stderr ?? ''}` }
}

/** A policy-rc.d that refuses every start, for the time of `action`. A killed earlier run is mended first. */
function withoutDaemonStarts(action) {
  restorePolicy()
  if (existsSync(POLICY_FILE)) renameSync(POLICY_FILE, POLICY_SAVED)
  writeFileSync(POLICY_FILE, `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`, { mode: 0o755 })
  try {
    return action()
  } finally {
    restorePolicy()
  }
}

function restorePolicy() {
  if (existsSync(POLICY_FILE) && readFileSync(POLICY_FILE, 'utf8').includes(POLICY_MARK)) rmSync(POLICY_FILE)
  if (existsSync(POLICY_SAVED)) renameSync(POLICY_SAVED, POLICY_FILE)
}

function disableDaemons(packages) {
  for (const name of packages.flatMap((name) => DAEMONS[name] ?? [])) {
    if (existsSync('/usr/bin/deb-systemd-helper')) run('deb-systemd-helper', ['disable', `${name}.service`])
    if (existsSync(`/etc/init.d/${name}`)) run('update-rc.d', [name, 'disable'])
  }
}

/**
 * Installs what is missing of NEEDED (and of `extra`). Nothing it installs is running or enabled afterwards.
 * @param {string[]} extra further package names, each needed as named
 * @returns {string[]} what it installed
 * @throws {PackageError} with the mend, when a package has no candidate or apt fails
 */
export function installMissingPackages(extra = []) {
  const wanted = [...NEEDED, ...extra.map((name) => [name])]
  const missing = wanted.filter((alternatives) => !alternatives.some(isInstalled))
  if (missing.length === 0) return []
  mkdirSync('/usr/sbin', { recursive: true })
  let update = { ok: true, output: '' }
  if (missing.some((alternatives) => !hasCandidate(alternatives[0])))
    update = run('apt-get', ['update', '-q'])
  const chosen = missing.map((alternatives) => {
    const name = alternatives.find(hasCandidate)
    if (name) return name
    throw new PackageError(
      `no package source offers ${alternatives.join(' or ')}. Mend: enable Debian's main repository in /etc/apt/sources.list ` +
        `and check that 'apt-get update' succeeds.${update.ok ? '' : `\n${lastLines(update.output)}`}`,
    )
  })
  const install = () => run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...chosen])
  withoutDaemonStarts(() => {
    let result = install()
    // A list that has aged names versions the mirror no longer has; one fresh list settles it.
    if (!result.ok) {
      run('apt-get', ['update', '-q'])
      result = install()
    }
    if (!result.ok)
      throw new PackageError(
        `apt-get could not install ${chosen.join(' ')}. Mend: run 'apt-get install ${chosen.join(' ')}' and follow what it says.\n` +
          lastLines(result.output),
      )
  })
  disableDaemons(chosen)
  return chosen
}

function lastLines(text) {
  return text.trimEnd().split('\n').slice(-12).join('\n')
}
