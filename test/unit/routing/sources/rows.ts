// What the sources of routing are given in tests: everything defaulted, so that a case names only what it is about.

import { parse } from 'yaml'
import { parseConfig } from '../../../../src/agent/config.ts'
import { address } from '../../../../src/model/address.ts'
import type { Node } from '../../../../src/model/service.ts'
import type { FileRouting } from '../../../../src/routing/sources/file.ts'
import { nodeRow } from '../../model/rows.ts'

/** @param text YAML that goes below `routing` */
export function fileRouting(text: string): FileRouting {
  const config = {
    nodeName: 'node1',
    stateDirectory: '/run/weir/node1',
    kubernetes: { servers: ['https://127.0.0.1:6443'] },
    datapath: { bpffs: '/sys/fs/bpf/weir', cgroup: '/sys/fs/cgroup', uplinks: ['to-tor1'] },
    routing: { gobgp: 'unix:///run/weir/gobgpd.sock', ...(parse(text) as object) },
  }
  return parseConfig(JSON.stringify(config), 'agent.yaml').routing
}

/** With the address 10.255.0.NUMBER. */
export function node(number: number, overrides: Partial<Node> = {}): Node {
  return nodeRow(`node${number}`, {
    internalIps: { ipv4: address(`10.255.0.${number}`) },
    addresses: [address(`10.255.0.${number}`)],
    podCidrs: [`10.244.${number}.0/24`] as unknown as Node['podCidrs'],
    ...overrides,
  })
}
