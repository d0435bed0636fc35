// Where sockets are measured: a network namespace whose every route leads into a cable without an end, a cgroup without hooks, one
// with hooks that do nothing, and one for each number of Services with Weir's, attached as the product attaches them.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { DEFAULT_SETTINGS, type LoadedDatapath, loadDatapath } from '../../src/datapath/load.ts'
import { readMetrics } from '../../src/datapath/maps.ts'
import { removeCgroup } from '../../src/sandbox/cgroups.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { BPFFS_MOUNT } from '../../src/sandbox/names.ts'
import { attachCgroup, type BpfProgram, openObject } from '../../src/sys/libbpf-ts/index.ts'
import { ip } from '../frame/children.ts'
import { compile } from '../frame/compile.ts'
import type { Effort } from '../frame/figure.ts'
import { Caller } from './caller.ts'
import { frontendsOfServices, Services } from './services.ts'

export type Hooks = 'none' | 'idle' | 'weir'

/** Somebody who calls, with hooks or without. */
export interface Lane {
  readonly services: number
  readonly hooks: Hooks
  readonly caller: Caller
  /** Sockets that its hooks translated so far. */
  readonly translated: () => number
}

const DEFAULT_FRONTENDS = 1 << 17
const IDLE_SOURCE = fileURLToPath(new URL('./idle_hooks.bpf.c', import.meta.url))

export class SocketBed {
  readonly directory = mkdtempSync(`${tmpdir()}/weir-tests-${process.pid}-`)
  readonly #effort: Effort
  readonly #namespace: string

  constructor(effort: Effort) {
    this.#effort = effort
    effort.defer(() => rmSync(this.directory, { recursive: true, force: true }))
    this.#namespace = makeNamespace(effort)
  }

  /** @param services how many there are; they matter to Weir's hooks alone */
  lane(hooks: Hooks, services: number): Lane {
    const name = `${hooks}${services}`
    const cgroup = `${cgroupMount()}/weir-test-socket-${name}-${process.pid}`
    mkdirSync(cgroup)
    this.#effort.defer(() => removeCgroup(cgroup))
    const datapath = hooks === 'weir' ? this.#load(services) : undefined
    if (datapath !== undefined) this.#attach(datapath.socket, cgroup)
    if (hooks === 'idle') {
      const idle = openObject(compile(IDLE_SOURCE)).load()
      this.#effort.defer(() => idle.close())
      this.#attach([...idle.programs.values()], cgroup)
    }
    // The last processor: Node, which asks, is rather elsewhere.
    const caller = new Caller({ cgroup, namespace: this.#namespace, cpu: cpus().length - 1 })
    this.#effort.defer(() => caller.close())
    const translated = () => datapath && readMetrics(datapath.map('metrics'))['SOCKET']?.packets
    return { services, hooks, caller, translated: () => translated() ?? 0 }
  }

  #attach(programs: readonly BpfProgram[], cgroup: string): void {
    const links = programs.map((program) => attachCgroup(program, cgroup))
    this.#effort.defer(() => {
      for (const link of links) link.close()
    })
  }

  #load(services: number): LoadedDatapath {
    const bpffs = `${BPFFS_MOUNT}/weir-test-socket${services}-${process.pid}`
    this.#effort.defer(() => rmSync(bpffs, { recursive: true, force: true }))
    const frontends = Math.max(DEFAULT_FRONTENDS, frontendsOfServices(services))
    const datapath = loadDatapath({
      bpffs,
      objects: undefined,
      redirectsOnly: false,
      settings: { ...DEFAULT_SETTINGS, capacities: { frontends } },
      tunnelAddresses: { ipv4: undefined, ipv6: undefined },
    })
    this.#effort.defer(() => datapath.close())
    new Services(datapath).write(services)
    return datapath
  }
}

function makeNamespace({ defer }: Effort): string {
  const name = `weir-t${process.pid}socket`
  ip('netns', 'add', name)
  defer(() => void ip('netns', 'del', name))
  const inside = (...args: string[]) => ip('-n', name, ...args)
  inside('link', 'set', 'lo', 'up')
  // Its other end stays down: datagrams get as far as the device's queue, which throws them away.
  inside('link', 'add', 'out', 'address', '02:00:00:00:00:01', 'type', 'veth', 'peer', 'name', 'end')
  inside('link', 'set', 'out', 'up')
  inside('addr', 'add', '192.0.2.1/24', 'dev', 'out')
  inside('addr', 'add', '2001:db8:1::1/64', 'dev', 'out', 'nodad')
  for (const gateway of ['192.0.2.2', '2001:db8:1::2']) {
    inside('neigh', 'add', gateway, 'lladdr', '02:00:00:00:00:02', 'dev', 'out', 'nud', 'permanent')
    inside('route', 'add', 'default', 'via', gateway, 'dev', 'out')
  }
  return `/run/netns/${name}`
}
