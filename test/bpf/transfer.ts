// A TCP transfer both ways, for tests that need a real stack at either end; run by path inside a network namespace.
//
//   transfer.ts server ADDRESS PORT          says "ready", then answers each connection as below
//   transfer.ts client ADDRESS PORT BYTES    sends so many, then its end; prints "BYTES SHA256 | BYTES SHA256", sent | as heard back
//   transfer.ts refused ADDRESS PORT tcp|udp prints the error's code
//
// The server sends back what it got after the client's end, so each direction carries all of it.

import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, createServer, type Socket } from 'node:net'

const [role, address = '', port = '', bytes = '0'] = process.argv.slice(2)
const DEADLINE_MS = 10_000

async function readAll(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of socket) pieces.push(piece)
  return Buffer.concat(pieces)
}

const told = (data: Buffer) => `${data.length} ${createHash('sha256').update(data).digest('hex')}`

if (role === 'server') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    void readAll(socket).then((data) => socket.end(data))
  })
  server.listen(Number(port), address, () => process.stdout.write('ready\n'))
} else if (role === 'refused') {
  const isTcp = bytes === 'tcp'
  const socket = isTcp
    ? connect({ host: address, port: Number(port) })
    : createSocket(address.includes(':') ? 'udp6' : 'udp4')
  const timer = setTimeout(() => socket.emit('error', { code: 'nothing came' }), DEADLINE_MS)
  socket.on('error', (error: NodeJS.ErrnoException) => {
    clearTimeout(timer)
    process.stdout.write(`${error.code}\n`)
    if ('close' in socket) socket.close()
    else socket.destroy()
  })
  if ('send' in socket) socket.connect(Number(port), address, () => socket.send('is anybody there?'))
} else {
  const data = randomBytes(Number(bytes))
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true })
  socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error('nothing moves')))
  socket.end(data)
  process.stdout.write(`${told(data)} | ${told(await readAll(socket))}\n`)
}
