// The configuration file: defaults, and refusals that name the key and the mend.

import t from 'tap'
import { loadConfig, parseConfig } from '../../../src/agent/config.ts'

const GOOD = `
nodeName: node1
stateDirectory: /run/weir/node1
kubernetes: { servers: ["https://127.0.0.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [to-tor1, to-tor2] }
routing:
  gobgp: unix:///run/weir/gobgpd.sock
  asn: 65101
  routerId: 10.255.0.1
  loopbacks: [10.255.0.1/32]
  peers: [ { address: 10.254.1.0, asn: 65001, family: ipv4 } ]
pools: [ { name: default, prefixes: [203.0.113.0/24, "2001:db8:113::/112"] } ]
`

t.test('a good file is read and defaulted', async (t) => {
  const config = parseConfig(GOOD, 'agent.yaml')
  t.equal(config.logLevel, 'info')
  t.equal(config.datapath.mode, 'dsr')
  t.equal(config.routing.peers[0]?.port, 179)
})

t.test('refusals', async (t) => {
  const cases: [string, string, string, RegExp][] = [
    ['a misspelt key', 'nodeName:', 'nodename:', /unknown key 'nodename' \(did you mean 'nodeName'\?\)/],
    [
      'a nested misspelt key',
      'uplinks:',
      'uplinksz:',
      /datapath: unknown key 'uplinksz' \(did you mean 'uplinks'\?\)/,
    ],
    [
      'host bits in a pool',
      '203.0.113.0/24',
      '203.0.113.1/24',
      /pools\[0\]\.prefixes\[0\]: '203.0.113.1\/24' is not a prefix/,
    ],
    [
      'an address that is none',
      'routerId: 10.255.0.1',
      'routerId: 10.255.0',
      /routing\.routerId: '10\.255\.0' is not an IP/,
    ],
    ['the wrong family', 'family: ipv4', 'family: ipv6', /routing\.peers\[0\]\.family: is ipv6/],
    [
      "a pool with the node's own address",
      'prefixes: [203.0.113.0/24',
      'prefixes: [10.255.0.0/24',
      /pools\[0\]\.prefixes\[0\]: 10\.255\.0\.0\/24 holds 10\.255\.0\.1/,
    ],
    ['an ASN out of range', 'asn: 65101', 'asn: 0', /routing\.asn/],
    [
      'a gobgp target of no known form',
      'unix:///run/weir/gobgpd.sock',
      'tcp-50051',
      /routing\.gobgp: is neither/,
    ],
  ]
  for (const [name, from, to, expected] of cases)
    t.throws(() => parseConfig(GOOD.replace(from, to), 'agent.yaml'), { message: expected }, name)
  t.throws(() => parseConfig('a: [', 'agent.yaml'), { code: 'NOT_YAML' })
  t.throws(() => loadConfig('/nonexistent/agent.yaml'), { code: 'UNREADABLE' })
})

t.test('variables are filled in from the environment', async (t) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the file's own syntax
  const text = GOOD.replace('nodeName: node1', 'nodeName: ${NODE_NAME} # ${NOT_READ}')
  t.equal(parseConfig(text, 'agent.yaml', { NODE_NAME: 'worker-7' }).nodeName, 'worker-7')
  t.throws(() => parseConfig(text, 'agent.yaml', {}), { message: /uses \$\{NODE_NAME\}, which is not set/ })
})
