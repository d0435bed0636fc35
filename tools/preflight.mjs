// Refuses early, in one sentence with its mend, where Weir could only fail later in a less readable way.

import { existsSync, readFileSync } from 'node:fs'

/** Reads a file that may be absent (procfs entries of a kernel built without the feature). */
function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/**
 * The checks, each with what it needs, how it is seen, and the mend.
 * @returns {{need: string, met: boolean, mend: string}[]}
 */
function checks() {
  const osRelease = readOrEmpty('/etc/os-release')
  return [
    { need: 'Linux', met: process.platform === 'linux', mend: 'run it on a Linux machine or VM' },
    {
      need: 'an x86-64 or arm64 CPU',
      met: process.arch === 'x64' || process.arch === 'arm64',
      mend: `${process.arch} has no pinned Node and no tested datapath`,
    },
    {
      need: 'root',
      met: process.getuid?.() === 0,
      mend: "run it with sudo (sudo -E npm run sandbox), for namespaces and BPF are root's",
    },
    {
      need: 'Debian or a derivative with apt-get',
      met: existsSync('/usr/bin/apt-get') && /debian|ubuntu/i.test(osRelease),
      mend: 'use Debian 12 or 13 or an Ubuntu LTS, or install the packages listed in tools/packages.mjs by hand and set WEIR_SKIP_APT=1',
      skip: process.env.WEIR_SKIP_APT === '1',
    },
    {
      need: 'a kernel with BTF',
      met: existsSync('/sys/kernel/btf/vmlinux'),
      mend: 'boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian and Ubuntu kernels are), and mount sysfs at /sys',
    },
    {
      need: 'a kernel with BPF and its JIT',
      met:
        existsSync('/proc/sys/kernel/unprivileged_bpf_disabled') &&
        existsSync('/proc/sys/net/core/bpf_jit_enable'),
      mend: 'boot a kernel built with CONFIG_BPF_SYSCALL=y and CONFIG_BPF_JIT=y',
    },
    {
      need: 'the bpf file system',
      met: /\bbpf$/m.test(readOrEmpty('/proc/filesystems')),
      mend: 'boot a kernel built with CONFIG_BPF_SYSCALL=y',
    },
    {
      need: 'cgroup v2',
      met: /\bcgroup2$/m.test(readOrEmpty('/proc/filesystems')),
      mend: 'boot a kernel built with CONFIG_CGROUPS=y and CONFIG_CGROUP_BPF=y',
    },
    {
      need: 'network namespaces',
      met: existsSync('/proc/self/ns/net'),
      mend: 'boot a kernel built with CONFIG_NET_NS=y',
    },
  ]
}

/** The sentences to print for every need that is not met; empty when the machine will do. */
export function unmetNeeds() {
  return checks()
    .filter((check) => !check.met && !check.skip)
    .map((check) => `weir needs ${check.need}, which is missing here. Mend: ${check.mend}.`)
}
