// Sockets ended by another process, on loopback of a namespace that this test made.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import t from 'tap'
import { SocketDiagnosis, type SocketName } from '../../../../src/sys/node-netlink/socket-diagnosis.ts'

/** INET_DIAG_NOCOOKIE: whichever socket has these ends. */
const ANY_COOKIE = 0xffff_ffff_ffff_ffffn
const diagnosis = new SocketDiagnosis()
t.teardown(() => diagnosis.close())

async function connectedUdp(host: string): Promise<{ socket: Socket; server: Socket; name: SocketName }> {
  const type = host === '::1' ? 'udp6' : 'udp4'
  const server = createSocket(type).bind(0, host)
  const socket = createSocket(type)
  await once(server, 'listening')
  socket.connect(server.address().port, host)
  await once(socket, 'connect')
  const [local, remote] = [socket.address(), socket.remoteAddress()]
  return { socket, server, name: { protocol: 'udp', local, remote, cookie: ANY_COOKIE } }
}

for (const host of ['127.0.0.1', '::1']) {
  t.test(`${host}: a connected UDP socket learns that it was ended`, async (t) => {
    const { socket, server, name } = await connectedUdp(host)
    t.equal(await diagnosis.destroy({ ...name, cookie: 1n }), false, 'another socket with the same ends')
    const ended = once(socket, 'error')
    t.equal(await diagnosis.destroy(name), true)
    const [error] = (await ended) as [NodeJS.ErrnoException]
    t.equal(error.code, 'ECONNABORTED')
    t.equal(await diagnosis.destroy(name), false, 'it is gone')
    socket.close()
    server.close()
  })

  t.test(`${host}: a TCP connection`, async (t) => {
    const server = createServer((accepted) => accepted.on('error', () => {})).listen(0, host)
    await once(server, 'listening')
    const bound = server.address()
    const socket = connect({ host, port: typeof bound === 'object' && bound ? bound.port : 0 })
    await once(socket, 'connect')
    const end = (address = '', port = 0) => ({ address, port })
    const local = end(socket.localAddress, socket.localPort)
    const remote = end(socket.remoteAddress, socket.remotePort)
    const ended = once(socket, 'error')
    t.equal(await diagnosis.destroy({ protocol: 'tcp', local, remote, cookie: ANY_COOKIE }), true)
    t.equal(((await ended) as [NodeJS.ErrnoException])[0].code, 'ECONNABORTED')
    server.close()
  })
}
