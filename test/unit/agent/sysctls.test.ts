// Kernel settings: what is needed given what is, and that what was before is never forgotten.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { neededSysctls, readSysctlRecord, restoreSysctls, Sysctls } from '../../../src/agent/sysctls.ts'

const UPLINK = { name: 'eth0.100', kind: 'uplink' } as const
const POD = { name: 'pod1', kind: 'pod' } as const

type Values = Record<string, string>

const base = (): Values => ({
  'net/ipv4/ip_forward': '0',
  'net/ipv6/conf/all/forwarding': '0',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/eth0.100/rp_filter': '0',
  'net/ipv4/conf/eth0.100/ignore_routes_with_linkdown': '0',
  'net/ipv6/conf/eth0.100/ignore_routes_with_linkdown': '0',
  'net/ipv6/conf/eth0.100/accept_ra': '0',
  'net/ipv4/conf/pod1/rp_filter': '0',
})

const needed = (values: Values) => Object.fromEntries(neededSysctls([UPLINK, POD], (name) => values[name]))

t.test('the reverse path filter: the larger of all and the device counts', async (t) => {
  const cases: { all: string; own: string; wanted: string | undefined }[] = [
    { all: '0', own: '0', wanted: undefined },
    { all: '0', own: '1', wanted: '2' },
    { all: '1', own: '0', wanted: '2' },
    { all: '1', own: '1', wanted: '2' },
    { all: '2', own: '0', wanted: undefined },
    { all: '2', own: '1', wanted: '2' },
    { all: '0', own: '2', wanted: '2' },
  ]
  for (const { all, own, wanted } of cases)
    for (const { name } of [UPLINK, POD]) {
      const values: Values = { ...base(), 'net/ipv4/conf/all/rp_filter': all }
      values[`net/ipv4/conf/${name}/rp_filter`] = own
      t.equal(needed(values)[`net/ipv4/conf/${name}/rp_filter`], wanted, `${name}: all ${all}, own ${own}`)
    }
})

t.test('a node that learns its routers by advertisements keeps hearing them', async (t) => {
  const accept = 'net/ipv6/conf/eth0.100/accept_ra'
  t.equal(needed(base())[accept], undefined, 'not where it does not listen')
  const names = Object.keys(needed({ ...base(), [accept]: '1' }))
  t.ok(
    names.indexOf(accept) < names.indexOf('net/ipv6/conf/all/forwarding'),
    'before forwarding is turned on',
  )
})

t.test('an uplink keeps its IPv6 addresses when it is set down, a pod need not', async (t) => {
  const keep = (device: string) => `net/ipv6/conf/${device}/keep_addr_on_down`
  const values = { ...base(), [keep('eth0.100')]: '0', [keep('pod1')]: '0' }
  t.equal(needed(values)[keep('eth0.100')], '1')
  t.equal(needed(values)[keep('pod1')], undefined)
})

t.test('what the kernel lacks is not asked of it', async (t) => {
  t.strictSame(neededSysctls([UPLINK], () => undefined).size, 0)
})

interface Bed {
  readonly values: Values
  readonly directory: string
  readonly start: () => Sysctls
  readonly access: {
    read: (name: string) => string | undefined
    write: (name: string, value: string) => void
  }
  readonly problems: string[]
}

function makeBed(t: Test): Bed {
  const directory = mkdtempSync(join(tmpdir(), 'sysctls-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const values = { ...base(), 'net/ipv4/conf/eth0.100/rp_filter': '1' }
  const problems: string[] = []
  const access = {
    read: (name: string) => (values as Values)[name],
    write: (name: string, value: string) => {
      ;(values as Values)[name] = value
    },
  }
  const start = () =>
    new Sysctls({
      ...access,
      stateDirectory: directory,
      onSet: () => {},
      onProblem: (name) => problems.push(name),
    })
  return { values, directory, start, access, problems }
}

t.test('former values survive restarts and come back, but not over what others set since', async (t) => {
  const { values, directory, start, access } = makeBed(t)
  start().apply([UPLINK])
  t.equal(values['net/ipv4/conf/eth0.100/rp_filter'], '2')
  const again = start()
  again.apply([UPLINK])
  t.match(
    again.status.find(({ name }) => name === 'net.ipv4.conf.eth0/100.rp_filter'),
    { value: '2', needed: '2', former: '1', problem: undefined },
  )
  values['net/ipv4/ip_forward'] = '0'
  again.apply([UPLINK])
  t.equal(values['net/ipv4/ip_forward'], '1', 'set again when somebody set it back')
  t.strictSame(readdirSync(directory), ['sysctls.json'], 'no half-written file')

  values['net/ipv6/conf/all/forwarding'] = '2'
  const record = readSysctlRecord(directory)
  const dry = restoreSysctls(record, access, true)
  t.equal(values['net/ipv4/ip_forward'], '1', 'a dry run writes nothing')
  t.strictSame(restoreSysctls(record, access, false), dry)
  t.equal(values['net/ipv4/ip_forward'], '0')
  t.equal(values['net/ipv4/conf/eth0.100/rp_filter'], '1')
  t.equal(values['net/ipv6/conf/all/forwarding'], '2', 'theirs now')
})

t.test(
  'reserved ports that grow go back to what they were before us, or to what others made of them',
  async (t) => {
    for (const others of [undefined, '2000']) {
      const { values, directory, access } = makeBed(t)
      const reserved: Values = values
      Object.assign(reserved, { 'net/ipv4/ip_local_port_range': '32768\t60999' })
      reserved['net/ipv4/ip_local_reserved_ports'] = '1000'
      const apply = (first: number) =>
        new Sysctls({
          ...access,
          stateDirectory: directory,
          lentPorts: [{ first, last: 50_999 }],
          onSet: () => {},
          onProblem: () => {},
        }).apply([UPLINK])
      apply(50_500)
      t.equal(reserved['net/ipv4/ip_local_reserved_ports'], '1000,50500-50999')
      if (others !== undefined) reserved['net/ipv4/ip_local_reserved_ports'] = others
      apply(50_000)
      t.match(reserved['net/ipv4/ip_local_reserved_ports'], /50000-50999$/)
      restoreSysctls(readSysctlRecord(directory), access, false)
      t.equal(reserved['net/ipv4/ip_local_reserved_ports'], others ?? '1000')
    }
  },
)

t.test('OPS-007 killed before any write, the next process still knows what was before', async (t) => {
  const writes = Object.keys(needed({ ...base(), 'net/ipv4/conf/eth0.100/rp_filter': '1' })).length
  for (let fuse = 0; fuse < writes; fuse += 1) {
    const { values, directory, access } = makeBed(t)
    const before = { ...values }
    let left = fuse
    const killed = new Sysctls({
      ...access,
      write: (name, value) => {
        if (left === 0) throw new Error('killed')
        left -= 1
        access.write(name, value)
      },
      stateDirectory: directory,
      onSet: () => {},
      onProblem: () => {},
    })
    killed.apply([UPLINK])
    restoreSysctls(readSysctlRecord(directory), access, false)
    t.strictSame(values, before, `after ${fuse} writes`)
  }
})

t.test('what cannot be set is told once, with its mend', async (t) => {
  const { directory, access, problems } = makeBed(t)
  const sysctls = new Sysctls({
    read: access.read,
    write: () => {
      throw new Error('EROFS')
    },
    stateDirectory: directory,
    onSet: () => {},
    onProblem: (name) => problems.push(name),
  })
  sysctls.apply([UPLINK])
  sysctls.apply([UPLINK])
  t.equal(problems.filter((name) => name === 'net.ipv4.ip_forward').length, 1)
  t.match(
    sysctls.status.find(({ name }) => name === 'net.ipv4.ip_forward'),
    { value: '0', problem: /EROFS.*sysctl -w net\.ipv4\.ip_forward=1/ },
  )
})

t.test('a state file that is no JSON is named, set aside, and stops nobody', async (t) => {
  const { directory, start, problems, values } = makeBed(t)
  writeFileSync(join(directory, 'sysctls.json'), '{')
  t.throws(() => readSysctlRecord(directory), /sysctls\.json cannot be read.*Mend/)
  start().apply([UPLINK])
  t.strictSame(problems, ['sysctls.json'])
  t.equal(values['net/ipv4/ip_forward'], '1')
  t.strictSame(readdirSync(directory).sort(), ['sysctls.json', 'sysctls.json.unreadable'])
})
