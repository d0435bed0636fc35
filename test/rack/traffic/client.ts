// Many long flows from one process. Every flow says a number once a second and knows who answers it: another name, another
// number, a reset or an end is a failure of that flow. A line on standard input asks for a report; its end ends everything.
// node client.ts PORT FLOWS ADDRESS…      so many TCP and so many UDP flows, dealt over the addresses

import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

export interface FlowReport {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly localPort: number
  /** Who answered first; empty: nobody did yet. */
  readonly backend: string
  readonly answered: number
  /** For how long it has waited for the answer to what it said last. */
  readonly waitsMs: number
  /** What went wrong, in order; several answers by another backend count once. */
  readonly failures: readonly string[]
}

const SAY_EVERY_MS = 1000
/** So many are begun at once: a burst would be lost at the sockets. */
const OPEN_TOGETHER = 25
const OPEN_EVERY_MS = 25

class Flow {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  backend = ''
  answered = 0
  readonly failures = new Set<string>()
  localPort = 0
  #number = 0
  #saidAtMs = 0
  #isWaiting = false
  say: (number: number) => void = () => {}

  constructor(protocol: 'tcp' | 'udp', address: string) {
    this.protocol = protocol
    this.address = address
  }

  tick(): void {
    // TCP waits for its answer, UDP's may be lost.
    if (this.protocol === 'tcp' && this.#isWaiting) return
    this.#number += 1
    if (!this.#isWaiting) this.#saidAtMs = Date.now()
    this.#isWaiting = true
    this.say(this.#number)
  }

  hear(text: string): void {
    const [name = '', number = ''] = text.split(' ')
    this.answered += 1
    this.#isWaiting = false
    if (this.backend === '') this.backend = name
    if (name !== this.backend) this.failures.add(`answered by ${name}`)
    if (this.protocol === 'tcp' && Number(number) !== this.#number)
      this.failures.add(`answer ${number} to question ${this.#number}`)
  }

  report(): FlowReport {
    const { protocol, address, backend, answered, localPort } = this
    const waitsMs = this.#isWaiting ? Date.now() - this.#saidAtMs : 0
    return { protocol, address, localPort, backend, answered, waitsMs, failures: [...this.failures] }
  }
}

function beginTcp(flow: Flow, port: number): void {
  const socket = connect({ host: flow.address, port, noDelay: true })
  let waiting = ''
  flow.say = (number) => socket.write(`${number}\n`)
  socket.setEncoding('latin1')
  socket.on('connect', () => {
    flow.localPort = socket.localPort ?? 0
    flow.tick()
  })
  socket.on('data', (text: string) => {
    const lines = (waiting + text).split('\n')
    waiting = lines.pop() ?? ''
    for (const line of lines) flow.hear(line)
  })
  socket.on('error', (error: NodeJS.ErrnoException) => flow.failures.add(error.code ?? error.message))
  socket.on('end', () => flow.failures.add('ended by the other side'))
}

function beginUdp(flow: Flow, port: number): void {
  const socket = createSocket({ type: isIPv6(flow.address) ? 'udp6' : 'udp4' })
  socket.on('message', (data) => flow.hear(data.toString('latin1')))
  socket.on('error', (error: NodeJS.ErrnoException) => flow.failures.add(error.code ?? error.message))
  socket.connect(port, flow.address, () => {
    flow.localPort = socket.address().port
    flow.say = (number) => socket.send(String(number), () => {})
    flow.tick()
  })
}

const [portText = '', countText = '', ...addresses] = process.argv.slice(2)
const flows: Flow[] = []
createInterface({ input: process.stdin }).on('line', () =>
  process.stdout.write(`${JSON.stringify(flows.map((flow) => flow.report()))}\n`),
)
process.stdin.on('end', () => process.exit())

for (let index = 0; index < Number(countText); index += 1) {
  const address = addresses[index % addresses.length] ?? ''
  for (const protocol of ['tcp', 'udp'] as const) {
    const flow = new Flow(protocol, address)
    flows.push(flow)
    if (protocol === 'tcp') beginTcp(flow, Number(portText))
    else beginUdp(flow, Number(portText))
    // Each at its own moment of the second.
    const offset = (index % 40) * (SAY_EVERY_MS / 40)
    setTimeout(() => setInterval(() => flow.tick(), SAY_EVERY_MS), offset)
  }
  if (index % OPEN_TOGETHER === 0) await sleep(OPEN_EVERY_MS)
}
