// Small tables, filled: who is served then, who is told, and what the commands for a node show.

import t from 'tap'
import { runAt, runIn } from '../../../src/sandbox/host.ts'
import { agentSocket, WEIR } from '../../../src/sandbox/nodes.ts'
import { Bed } from './bed.ts'
import { expectAnswerers } from './expect.ts'
import { HTTP_PORT, pod, service } from './manifests.ts'

t.setTimeout(300_000)
/** Room for the tables of two Services of both families, of 251 slots each, and not for four. */
const SLOTS = 1400
/** Two of them make a connection to a pod of the same node. */
const FLOWS = 128
const CONNECTIONS = 300
const bed = await Bed.up({
  name: 'conffull',
  nodes: 1,
  agent: { datapath: { capacities: { slots: SLOTS, flows: FLOWS } } },
})
t.teardown(() => bed.down())

const ports = [{ port: 80, targetPort: HTTP_PORT }]
await bed.apply(pod('p1', { node: 'node1', labels: { app: 'p' } }))
await bed.waitForPods('app=p')

const host = bed.rack.host('node1')
const weir = (...args: readonly string[]) =>
  runIn(host, [process.execPath, WEIR, ...args], { env: { WEIR_SOCKET: agentSocket(host) } })

t.test('CT-008 a full flow table refuses new flows, keeps old ones, and says so', async (t) => {
  await bed.apply(service('web', { type: 'LoadBalancer', selector: { app: 'p' }, ports }))
  const [vip = ''] = await bed.vips('web')
  await expectAnswerers(bed, t, 'client1', [vip], ['p1'])
  const { stdout } = await bed.run('client1', [process.execPath, '-e', holdConnections(vip)], 60_000)
  const seen = JSON.parse(stdout) as { opened: number; answeredAgain: number }
  t.ok(seen.opened > 20, `some were served: ${seen.opened}`)
  t.ok(seen.opened < CONNECTIONS, `and not all: ${seen.opened} of ${CONNECTIONS}`)
  t.equal(seen.answeredAgain, seen.opened, 'whoever was served goes on being served')
  const status = await weir('status')
  t.match(status.stdout, /\d+ packets of new flows found no place/)
  t.match(status.stdout, /^weir_pod_tc +\d+ +tcx_ingress /m)
  // They are counted by the sweep, which takes ten seconds to come round.
  await bed.until('flows to be counted', async () =>
    /^Flows +[1-9]\d* \(/m.test((await weir('status')).stdout),
  )
  const flows = await weir('flow', 'get', '--address', vip, '--port', '80', '-o', 'json')
  const listed = JSON.parse(flows.stdout) as {
    flows: { frontend: string; backend?: string; state: string }[]
  }
  t.ok(listed.flows.length > 20)
  t.ok(listed.flows.every((flow) => flow.frontend === `${vip}:80`))
  t.match((await weir('flow', 'drops')).stdout, /FLOW_SET_FULL +TCP .*:80 +default\/web/)
  await bed.until('a line in the log', async () => {
    const log = await runAt({}, ['cat', `${host.directory}/agent.log`])
    return log.stdout.includes('the flow table had no place')
  })
})

t.test('OPS-013 a full table is told of on the Service that met it, and the others go on', async (t) => {
  const [vip = ''] = await bed.vips('web')
  const names = ['more1', 'more2', 'more3']
  await bed.apply(
    ...names.map((name) => service(name, { type: 'LoadBalancer', selector: { app: 'p' }, ports })),
  )
  const events = async () =>
    (await bed.get<{ items: { reason: string; message: string }[] }>('events')).items.filter(
      ({ reason }) => reason === 'NotServed',
    )
  await bed.until('an Event', async () => (await events()).length > 0)
  t.match((await events())[0]?.message, /slot array of this node is full; raise datapath.capacities.slots/)
  const list = (await weir('service', 'list')).stdout
  t.match(list, /default\/more\d .*datapath\.capacities\.slots/)
  const row = JSON.parse((await weir('status', '-o', 'json')).stdout) as {
    fills: { map: string; isNearlyFull: boolean }[]
  }
  t.ok(row.fills.find(({ map }) => map === 'slots')?.isNearlyFull)
  await expectAnswerers(bed, t, 'client1', [vip], ['p1'])
})

/** Opens connections, asks on each, keeps them, and asks once more on those that were answered. */
function holdConnections(vip: string): string {
  return `const net = require('node:net')
    const ask = (socket) => new Promise((resolve) => {
      const end = setTimeout(() => resolve(false), 4000)
      const over = (held) => { clearTimeout(end); resolve(held) }
      socket.once('data', () => over(true))
      socket.once('close', () => over(false))
      socket.write('GET /hostname HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    })
    const open = () => new Promise((resolve) => {
      const socket = net.connect(80, '${vip}')
      socket.on('error', () => {})
      const end = setTimeout(() => { socket.destroy(); resolve(undefined) }, 4000)
      socket.once('connect', async () => {
        const held = await ask(socket)
        clearTimeout(end)
        if (!held) socket.destroy()
        resolve(held ? socket : undefined)
      })
    })
    const main = async () => {
      const sockets = (await Promise.all(Array.from({ length: ${CONNECTIONS} }, open))).filter(Boolean)
      const again = (await Promise.all(sockets.map(ask))).filter(Boolean)
      console.log(JSON.stringify({ opened: sockets.length, answeredAgain: again.length }))
      process.exit()
    }
    main()`
}
