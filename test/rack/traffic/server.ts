// The far end of many flows: says its name and repeats what it was told, a line over TCP, a datagram over UDP.
// node server.ts NAME PORT

import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const [name = '', portText = ''] = process.argv.slice(2)
const port = Number(portText)

createServer((socket) => {
  let waiting = ''
  socket.setNoDelay(true).setEncoding('latin1')
  socket.on('data', (text: string) => {
    const lines = (waiting + text).split('\n')
    waiting = lines.pop() ?? ''
    for (const line of lines) socket.write(`${name} ${line}\n`)
  })
  socket.on('error', () => {})
}).listen({ port, host: '::', backlog: 1024 })

for (const type of ['udp4', 'udp6'] as const) {
  const socket = createSocket({ type, ipv6Only: type === 'udp6', recvBufferSize: 1 << 20 })
  socket.on('message', (data, sender) =>
    socket.send(`${name} ${data.toString('latin1')}`, sender.port, sender.address),
  )
  socket.bind(port)
}
