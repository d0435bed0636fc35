// Debian packages: which ones the rack and the tests need, and how they get in without starting a daemon.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

const OUTPUT_LINES_SHOWN = 12
const POLICY_DIRECTORY = '/usr/sbin'
const POLICY_MARK = '# Written by weir while it installs packages:'
/** dpkg may be at work for somebody else, most often for unattended upgrades. */
const APT_OPTIONS = ['-q', '-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2']

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
  ['nftables'],
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

/** Which of these packages are installed, configured and all. */
function installedOf(names) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = '${binary:Package} ${db:Status-Status}\n'
  const query = spawnSync('dpkg-query', ['-W', '-f', format, ...names], { encoding: 'utf8' })
  const lines = (query.stdout ?? '').split('\n').filter((line) => line.endsWith(' installed'))
  return new Set(lines.map((line) => line.split(/[ :]/)[0]))
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

/**
 * The text of a policy-rc.d that refuses every start while process `pid` lives and afterwards gives way to the one before, so
 * that an installer killed with SIGKILL leaves a machine that behaves as ever. Its comment names the packages, for
 * whoever mends after it.
 */
export function policyText(pid, savedFile, packages) {
  return `#!/bin/sh
${POLICY_MARK} ${packages.join(' ')}
[ -d /proc/${pid} ] && exit 101
[ -x ${savedFile} ] && exec ${savedFile} "$@"
exit 0
`
}

/** Refuses every start of a daemon for the time of `action`. What is there before comes back after it. */
export function withoutDaemonStarts(packages, action, directory = POLICY_DIRECTORY) {
  const { file, saved } = policyFiles(directory)
  restorePolicy(directory)
  if (existsSync(file)) renameSync(file, saved)
  writeFileSync(file, policyText(process.pid, saved, packages), { mode: 0o755 })
  try {
    return action()
  } finally {
    restorePolicy(directory)
  }
}

/**
 * Puts back the policy-rc.d that a killed run moved away; nothing to do otherwise.
 * @returns {string[]} the packages that run was installing
 */
export function restorePolicy(directory = POLICY_DIRECTORY) {
  const { file, saved } = policyFiles(directory)
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const ours = text.split('\n').find((line) => line.startsWith(POLICY_MARK))
  if (ours !== undefined) rmSync(file)
  // One that somebody wrote since then is newer than the saved one and stays.
  if (existsSync(saved) && !existsSync(file)) renameSync(saved, file)
  return ours?.slice(POLICY_MARK.length).trim().split(' ') ?? []
}

function policyFiles(directory) {
  return { file: `${directory}/policy-rc.d`, saved: `${directory}/policy-rc.d.before-weir` }
}

/** Works on a machine without systemd too (an image that boots later): units are disabled as links on disk. */
function disableDaemons(packages) {
  for (const [name, units] of Object.entries(DAEMONS)) {
    for (const unit of packages.includes(name) ? units : []) {
      // It refuses to work outside a package's scripts unless told for which package. What it disables stays so on upgrades.
      const asPackage = { DPKG_MAINTSCRIPT_PACKAGE: name }
      if (existsSync('/usr/bin/deb-systemd-helper'))
        run('deb-systemd-helper', ['disable', `${unit}.service`], asPackage)
      if (existsSync(`/etc/init.d/${unit}`)) run('update-rc.d', [unit, 'disable'])
    }
  }
}

/** The first alternative of each that a package source offers. */
function chooseCandidates(missing) {
  let update = { ok: true, output: '' }
  if (missing.some((alternatives) => !hasCandidate(alternatives[0])))
    update = run('apt-get', ['update', ...APT_OPTIONS])
  // apt-get update succeeds even when it reached nobody, and only warns.
  const hasTrouble = !update.ok || /^(W|E|Err)\b/m.test(update.output)
  return missing.map((alternatives) => {
    const name = alternatives.find(hasCandidate)
    if (name) return name
    throw new Error(
      `no package source offers ${alternatives.join(' or ')}. Mend: enable the distribution's main repository (on Ubuntu also ` +
        `universe) in /etc/apt and check that 'apt-get update' fetches it.${hasTrouble ? `\n${lastLines(update.output)}` : ''}`,
    )
  })
}

function installPackages(names) {
  const install = () => run('apt-get', ['install', '-y', '--no-install-recommends', ...APT_OPTIONS, ...names])
  let result = install()
  if (!result.ok) {
    // An interrupted installation leaves dpkg refusing everything, and a list that has aged names versions the mirror no
    // longer has. Both are settled by one attempt each.
    run('dpkg', ['--configure', '-a'])
    run('apt-get', ['update', ...APT_OPTIONS])
    result = install()
  }
  if (result.ok) return
  throw new Error(
    `apt-get could not install ${names.join(' ')}. Mend: check that this machine reaches its package source, then run ` +
      `'apt-get install ${names.join(' ')}' and follow what it says.\n${lastLines(result.output)}`,
  )
}

/**
 * Installs what is missing of NEEDED (and of `extra`). Nothing it installs is running or enabled afterwards.
 * @param {string[]} extra further package names, each needed as named
 * @returns {string[]} what it installed
 * @throws {Error} with the mend, when a package has no candidate or apt fails
 */
export function installMissingPackages(extra = []) {
  // An earlier run that was killed may have got its daemons in, but not disabled.
  disableDaemons(restorePolicy())
  const wanted = [...NEEDED, ...extra.map((name) => [name])]
  const installed = installedOf(wanted.flat())
  const missing = wanted.filter((alternatives) => !alternatives.some((name) => installed.has(name)))
  if (missing.length === 0) return []
  const chosen = chooseCandidates(missing)
  withoutDaemonStarts(chosen, () => installPackages(chosen))
  disableDaemons(chosen)
  return chosen
}

/** The end of a program's output, where it says what went wrong. */
export function lastLines(text) {
  return text.trimEnd().split('\n').slice(-OUTPUT_LINES_SHOWN).join('\n')
}
