// Probes that nobody may answer: a datagram and the beginning of a connection in turn, so many a second, dealt over the addresses. Any order
// on standard input asks how many were sent (the other half is conformance/probes.ts); its end ends everything.
// node sender.ts PORT PER_SECOND ADDRESS…

import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { createInterface } from 'node:readline'

const [portText = '', rateText = '', ...addresses] = process.argv.slice(2)
const port = Number(portText)
const perMs = Number(rateText) / 1000
const sockets = { ipv4: createSocket('udp4'), ipv6: createSocket('udp6') }
const OWED_MAX = 100
const sent = { tcp: 0, udp: 0 }
const begunMs = performance.now()
let due = 0

function probe(index: number): void {
  const address = addresses[Math.floor(index / 2) % addresses.length] ?? ''
  if (index % 2 === 0) {
    sockets[isIPv6(address) ? 'ipv6' : 'ipv4'].send('probe', port, address, (error) => {
      if (!error) sent.udp += 1
    })
    return
  }
  const socket = connect({ host: address, port })
  socket.on('error', () => {})
  sent.tcp += 1
  // Its SYN goes with the next tick of this process.
  setImmediate(() => socket.destroy())
}

setInterval(() => {
  const now = Math.floor((performance.now() - begunMs) * perMs)
  // A machine that held us up is owed no flood.
  due = Math.max(due, now - OWED_MAX)
  for (; due < now; due += 1) probe(due)
}, 1)

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id } = JSON.parse(line) as { id: number }
  process.stdout.write(`${JSON.stringify({ id, answer: sent })}\n`)
})
process.stdin.on('end', () => process.exit())
