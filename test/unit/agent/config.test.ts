// The configuration file: defaults, and refusals that name the key and the mend.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { KNOWN_KEYS, loadConfig, parseConfig } from '../../../src/agent/config.ts'

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
  t.match(config.services, {
    nodePortAddresses: 'primary',
    externalIPs: { enabled: true, allow: undefined },
    hostPorts: true,
    forwarding: 'snat',
  })
  t.match(config.datapath, {
    snatPorts: { first: 61_000, last: 65_535 },
    tunnel: 'geneve',
    mssClamp: false,
    perPacket: false,
  })
  t.strictSame(config.health, { address: { host: undefined, port: 10_256 }, syncSeconds: 30 })
  t.strictSame(config.metrics, { address: { host: '127.0.0.1', port: 10_249 } })
  t.equal(config.routing.peers[0]?.port, 179)
})

t.test('refusals', async (t) => {
  const cases: [string, string, string, RegExp][] = [
    ['a misspelt key', 'nodeName:', 'nodename:', /unknown key 'nodename' \(did you mean 'nodeName'\?\)/],
    [
      'a misspelt required key, said once',
      'nodeName:',
      'nodename:',
      /^[^\n]*refused:\n[^\n]*'nodename'[^\n]*$/,
    ],
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
    [
      'the key that services.forwarding replaced',
      'uplinks:',
      'mode: dsr, uplinks:',
      /datapath: 'mode' is no more: remove it, and say services.forwarding/,
    ],
    [
      'source ports that are no range',
      'uplinks:',
      'snatPorts: 65535-61000, uplinks:',
      /datapath\.snatPorts: '65535/,
    ],
    ['reserved source ports', 'uplinks:', 'snatPorts: 80-90, uplinks:', /datapath\.snatPorts: '80-90'/],
    [
      'a flow table that is no power of two',
      'uplinks:',
      'capacities: { flows: 1000 }, uplinks:',
      /datapath\.capacities\.flows: must be a power of two/,
    ],
    [
      'a capacity of nothing',
      'uplinks:',
      'capacities: { slots: 0 }, uplinks:',
      /datapath\.capacities\.slots/,
    ],
    [
      'node ports on what is no network',
      'nodeName:',
      'services: { nodePortAddresses: [eth0] }\nnodeName:',
      /services\.nodePortAddresses/,
    ],
    [
      'metrics on what is no address',
      'nodeName:',
      'metrics: { address: "eth0:10249" }\nnodeName:',
      /metrics\.address: 'eth0:10249' is neither .* nor 'none'/,
    ],
    [
      'health on no port',
      'nodeName:',
      'health: { address: "127.0.0.1:0" }\nnodeName:',
      /health\.address: '127\.0\.0\.1:0' is neither/,
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
  t.throws(() => parseConfig('a:\n  address: fd00::\n', 'agent.yaml'), {
    message:
      /^agent.yaml \(line 2\) is not valid YAML: Nested mappings .*\. Mend: an IPv6 address .* in quotes/,
  })
  t.throws(() => loadConfig('/nonexistent/agent.yaml'), { code: 'UNREADABLE' })
})

t.test('services, datapath and listeners are read', async (t) => {
  const text = `${GOOD.replace('uplinks:', 'snatPorts: 50000-50999, capacities: { flows: 65536 }, uplinks:')}
services:
  nodePortAddresses: [10.255.0.0/16, 127.0.0.0/8]
  externalIPs: { allow: [198.51.100.0/24] }
  hostPorts: false
  forwarding: dsr
`
  const { datapath, services } = parseConfig(text, 'agent.yaml')
  const { health, metrics } = parseConfig(
    `${GOOD}\nhealth: { address: none }\nmetrics: { address: "[::1]:9100" }`,
    'agent.yaml',
  )
  t.equal(health.address, undefined)
  t.strictSame(metrics.address, { host: '::1', port: 9100 })
  t.match(datapath, { snatPorts: { first: 50_000, last: 50_999 }, capacities: { flows: 65_536 } })
  t.match(services, {
    nodePortAddresses: ['10.255.0.0/16', '127.0.0.0/8'],
    externalIPs: { enabled: true, allow: ['198.51.100.0/24'] },
    hostPorts: false,
    forwarding: 'dsr',
  })
})

t.test('policy is enforced unless the file says otherwise, or kube-router does it', async (t) => {
  const isEnforced = (text: string) => parseConfig(text, 'agent.yaml').policy.enforce
  const guest = GOOD.replace('routing:\n', 'routing:\n  mode: kube-router\n')
  t.not(guest, GOOD)
  t.ok(isEnforced(GOOD))
  t.notOk(isEnforced(`${GOOD}\npolicy: { enforce: false }`))
  t.notOk(isEnforced(guest))
  t.ok(isEnforced(`${guest}\npolicy: { enforce: true }`))
})

t.test('variables are filled in from the environment', async (t) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the file's own syntax
  const text = GOOD.replace('nodeName: node1', 'nodeName: ${NODE_NAME} # ${NOT_READ}')
  t.equal(parseConfig(text, 'agent.yaml', { NODE_NAME: 'worker-7' }).nodeName, 'worker-7')
  t.throws(() => parseConfig(text, 'agent.yaml', {}), { message: /uses \$\{NODE_NAME\}, which is not set/ })
})

t.test("the README's table of keys is that of the schema", async (t) => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const table = /\n\| key \| meaning \|\n((?:\|.*\n)+)/.exec(readme)?.[1] ?? ''
  const words = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')
  const missing = [...KNOWN_KEYS].filter((key) => !new RegExp(`\\b${key}\\b`).test(words(table).join(' ')))
  t.strictSame(missing, [], 'every key is told')
  const told = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap((row) => words(row[1] ?? ''))
  const segments = told.flatMap((path) => path.replaceAll('[]', '').split('.'))
  t.strictSame(
    segments.filter((key) => !KNOWN_KEYS.has(key)),
    [],
    'and every key that is told exists',
  )
})
