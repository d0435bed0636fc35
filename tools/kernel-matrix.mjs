// Old kernels: boots each of Debian's supported ones in QEMU (software emulation, no KVM needed), loads the BPF objects
// there and repeats the recorded packet cases. Prints a line per kernel and fails when any case does.
//
//   npm run test:kernels [-- --verbose]
//
// Brings what it needs by apt; kernels are unpacked under build/kernels, never installed. Nothing of the machine is booted from
// disk: the initramfs holds one static program, the objects and the cases.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installMissingPackages } from './packages.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = join(root, 'build/kernels')
const OBJECTS = [
  'weir_xdp.bpf.o',
  'weir_tc.bpf.o',
  'weir_uplink_tc.bpf.o',
  'weir_sock.bpf.o',
  'weir_iter.bpf.o',
  'weir_closed.bpf.o',
  'weir_unseen.bpf.o',
]
/** Loaded and run with policy and without: what a constant switches off no kernel looks at. */
const VARIANTS = ['plain', 'enforced']
/** The oldest supported series, and the one of Debian 13. */
const SERIES = ['6.1', '6.12']
const PACKAGES = ['qemu-system-x86', 'libelf-dev', 'zlib1g-dev', 'libc6-dev', 'gcc', 'dpkg-dev']
const BOOT_TIMEOUT_MS = 180_000
const MEMORY_MIB = 768
const isVerbose = process.argv.includes('--verbose')

function run(command, args, options = {}) {
  const child = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20, cwd: root, ...options })
  if (child.status === 0) return child.stdout
  const reason = child.error?.message ?? `${child.stdout}${child.stderr}`.trim()
  throw new Error(`${command} ${args.join(' ')} failed:\n${reason}`)
}

/** The newest cloud kernel of a series that the package sources offer. */
function findKernelPackage(series) {
  const pattern = `^linux-image-${series.replace('.', '\\.')}\\.[0-9].*-cloud-amd64$`
  const names = run('apt-cache', ['search', '--names-only', pattern])
    .split('\n')
    .map((line) => line.split(' ')[0])
    .filter(Boolean)
  names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  return names.at(-1)
}

/** The same, with fresh lists when the machine's have none: they may be older than the series. */
function findKernelPackageAnew(series) {
  const name = findKernelPackage(series)
  if (name !== undefined) return name
  run('apt-get', ['update', '-q'])
  return findKernelPackage(series)
}

/** Downloads and unpacks the kernel's image once. @returns its path, or undefined when no source has the series */
function fetchKernel(series) {
  const name = findKernelPackageAnew(series)
  if (name === undefined) return undefined
  const directory = join(work, name)
  const image = join(directory, 'boot', name.replace('linux-image', 'vmlinuz'))
  if (existsSync(image)) return image
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  run('apt-get', ['download', '-q', name], { cwd: directory })
  const archive = readdirSync(directory).find((file) => file.endsWith('.deb'))
  run('dpkg', ['-x', archive, '.'], { cwd: directory })
  // Modules are not used: everything the objects need is built in.
  for (const unused of [archive, 'lib', 'usr'])
    rmSync(join(directory, unused), { recursive: true, force: true })
  return image
}

/** One member of a cpio archive in the kernel's format (`newc`). */
function cpioMember(name, mode, content, number) {
  const hexadecimal = (value) => value.toString(16).padStart(8, '0')
  const path = Buffer.from(`${name}\0`)
  const fields = [number, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0]
  const header = Buffer.from(`070701${fields.map(hexadecimal).join('')}`)
  const pad = (bytes) => Buffer.alloc((4 - (bytes % 4)) % 4)
  return Buffer.concat([header, path, pad(header.length + path.length), content, pad(content.length)])
}

function buildRunner() {
  const runner = join(work, 'runner')
  const flags = ['-O2', '-Wall', '-static', '-Ibpf']
  run('cc', [...flags, 'test/bpf/kernel_runner.c', '-o', runner, '-lbpf', '-lelf', '-lz'])
  return runner
}

function buildInitramfs(runner, variant) {
  const cases = join(work, `cases-${variant}`)
  run(process.execPath, ['test/bpf/kernel-cases.ts', cases, variant])
  const files = [
    ['init', 0o100755, readFileSync(runner)],
    ['cases', 0o100644, readFileSync(cases)],
    ...OBJECTS.map((name) => [name, 0o100644, readFileSync(join(root, 'build/bpf', name))]),
    ['TRAILER!!!', 0, Buffer.alloc(0)],
  ]
  const console = cpioMember('dev', 0o040755, Buffer.alloc(0), 100)
  const archive = join(work, `initramfs-${variant}`)
  writeFileSync(
    archive,
    Buffer.concat([
      console,
      ...files.map(([name, mode, content], index) => cpioMember(name, mode, content, index)),
    ]),
  )
  return archive
}

/**
 * Boots, waits for the power-off, and reads what the runner said. The console is a file: into a pipe that is read late, QEMU's serial
 * line loses what does not fit.
 */
function bootKernel(image, initramfs) {
  const console = join(work, 'console')
  rmSync(console, { force: true })
  const machine = ['-accel', 'tcg', '-cpu', 'max', '-m', String(MEMORY_MIB), '-smp', '1']
  const quiet = ['-nographic', '-no-reboot', '-nic', 'none', '-nodefaults', '-serial', `file:${console}`]
  const kernel = ['-kernel', image, '-initrd', initramfs, '-append', 'console=ttyS0 panic=-1 quiet']
  const child = spawnSync('qemu-system-x86_64', [...machine, ...quiet, ...kernel], {
    encoding: 'utf8',
    timeout: BOOT_TIMEOUT_MS,
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = existsSync(console) ? readFileSync(console, 'utf8') : ''
  return `${said}${child.stdout ?? ''}${child.stderr ?? ''}`.replaceAll('\r', '')
}

function report(series, variant, output, seconds) {
  const release = /KERNEL (\d\S+)/.exec(output)?.[1]
  const result = /RESULT passed (\d+) failed (\d+)/.exec(output)
  const isGood = result !== null && Number(result[1]) > 0 && result[2] === '0'
  const outcome = result ? `${result[1]} passed, ${result[2]} failed` : 'did not come to an end'
  process.stdout.write(
    `${isGood ? 'ok    ' : 'not ok'} ${release ?? series} ${variant}: ${outcome} (${seconds} s)\n`,
  )
  if (isVerbose) process.stdout.write(`${output}\n`)
  else if (!isGood) {
    const lines = output.split('\n').filter((line) => !line.startsWith('ok '))
    process.stdout.write(`${lines.slice(-60).join('\n')}\n`)
  }
  return isGood
}

function main() {
  if (process.arch !== 'x64') {
    throw new Error(`kernels are fetched for amd64 only, and this machine is ${process.arch}`)
  }
  mkdirSync(work, { recursive: true })
  installMissingPackages(PACKAGES)
  run(process.execPath, ['tools/build.mjs'])
  const runner = buildRunner()
  const archives = VARIANTS.map((variant) => [variant, buildInitramfs(runner, variant)])
  let failures = 0
  for (const series of SERIES) {
    const image = fetchKernel(series)
    if (image === undefined) {
      process.stdout.write(
        `not ok ${series}: no package source offers it. Mend: enable Debian's security or backports source\n`,
      )
      failures += 1
      continue
    }
    for (const [variant, archive] of archives) {
      const startMs = Date.now()
      const output = bootKernel(image, archive)
      if (!report(series, variant, output, Math.round((Date.now() - startMs) / 1000))) failures += 1
    }
  }
  return failures
}

try {
  process.exitCode = main() === 0 ? 0 : 1
} catch (error) {
  process.stderr.write(`${isVerbose ? error.stack : error.message}\n`)
  process.exitCode = 1
}
