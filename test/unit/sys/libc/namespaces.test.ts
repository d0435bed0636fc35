// System errors, network namespaces and sockets made inside them, against the real kernel.

import { execFileSync, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { closeSync } from 'node:fs'
import { createServer } from 'node:http'
import t from 'tap'
import { decodeAddress, encodeAddress, encodeSocketAddress } from '../../../../src/sys/libc/addresses.ts'
import { errnoName, SystemError } from '../../../../src/sys/libc/errors.ts'
import {
  networkNamespaceId,
  openNetworkNamespace,
  withNetworkNamespace,
} from '../../../../src/sys/libc/namespaces.ts'
import {
  bindUdpIn,
  closeDescriptor,
  listenTcpIn,
  localPort,
  networkNamespaceCookie,
} from '../../../../src/sys/libc/sockets.ts'

const namespace = `weir-t${process.pid}-libc`
const path = `/run/netns/${namespace}`
execFileSync('ip', ['netns', 'add', namespace])
t.teardown(() => execFileSync('ip', ['netns', 'delete', namespace]))
execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])

t.test('a system error names the action, the errno and the mend', async (t) => {
  const error = new SystemError({ action: 'add route 10.0.0.0/8', errno: 1, explanation: 'not yours' })
  t.equal(error.code, 'EPERM')
  t.match(error.message, /^add route 10.0.0.0\/8: EPERM \(Operation not permitted\): not yours; run as root/)
  t.equal(errnoName(17), 'EEXIST')
  t.equal(errnoName(524), 'E524', 'an errno without a name is told by number')
})

t.test('addresses go to bytes and back in their canonical text', async (t) => {
  const cases = [
    ['10.0.0.1', '10.0.0.1', 4],
    ['255.255.255.255', '255.255.255.255', 4],
    ['::', '::', 16],
    ['FD00:0:0::1', 'fd00::1', 16],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1', 16],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1', 16],
  ] as const
  for (const [text, canonical, length] of cases) {
    const bytes = encodeAddress(text)
    t.equal(bytes.length, length)
    t.equal(decodeAddress(bytes), canonical)
  }
  for (const text of ['', '10.0.0', '10.0.0.0/8', 'fe80::1%lo', 'localhost']) {
    t.throws(() => encodeAddress(text), RangeError, `'${text}' is refused`)
  }
  t.throws(() => encodeSocketAddress('::1', 65536), RangeError)
  t.throws(() => decodeAddress(Buffer.alloc(5)), RangeError)
})

t.test('an action runs inside the namespace and the thread comes back', async (t) => {
  const home = networkNamespaceId()
  t.not(networkNamespaceId(path), home)
  t.equal(
    withNetworkNamespace(path, () => networkNamespaceId()),
    networkNamespaceId(path),
  )
  t.equal(networkNamespaceId(), home)
  const child = withNetworkNamespace(path, () =>
    spawnSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }),
  )
  t.match(child.stdout, `[${networkNamespaceId(path).split(':')[1]}]`, 'a child spawned inside lives inside')
})

t.test('the thread comes back whatever the action does', async (t) => {
  const home = networkNamespaceId()
  t.throws(
    () =>
      withNetworkNamespace(path, () => {
        throw new Error('from within')
      }),
    { message: 'from within' },
  )
  t.equal(networkNamespaceId(), home)
  t.throws(() => withNetworkNamespace(path, () => Promise.reject(new Error('late'))), /returned a promise/)
  t.equal(networkNamespaceId(), home)
  const nested = withNetworkNamespace(path, () => {
    withNetworkNamespace(`/proc/${process.ppid}/ns/net`, () => {})
    return networkNamespaceId()
  })
  t.equal(nested, networkNamespaceId(path), 'a nested call returns to the outer namespace')
  t.equal(networkNamespaceId(), home)
})

t.test('what is no namespace is refused without running the action', async (t) => {
  const never = () => t.fail('the action must not run')
  t.throws(() => withNetworkNamespace('/run/netns/nowhere', never), { code: 'ENOENT' })
  t.throws(() => withNetworkNamespace('/etc/passwd', never), { code: 'EINVAL' })
  t.throws(() => withNetworkNamespace('/proc/self/ns/uts', never), { code: 'EINVAL' })
  t.throws(() => openNetworkNamespace('/etc/passwd'), { code: 'EINVAL' })
  t.throws(() => networkNamespaceId('/run/netns/nowhere'), { code: 'ENOENT' })
  closeSync(openNetworkNamespace(path))
})

t.test('node serves a TCP socket that listens in another namespace', async (t) => {
  for (const host of ['127.0.0.1', '::1']) {
    const fd = listenTcpIn(path, host, 0)
    const port = localPort(fd)
    const server = createServer((_request, response) => response.end('from outside'))
    await new Promise<void>((resolve) => server.listen({ fd }, resolve))
    const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/`
    t.equal(await curlInside(url), 'from outside')
    await t.rejects(fetch(url), 'it does not listen here')
    t.throws(() => listenTcpIn(path, host, port), {
      code: 'EADDRINUSE',
      message: /listen on TCP .* choose another port/,
    })
    await new Promise((resolve) => server.close(resolve))
  }
  t.throws(() => listenTcpIn(path, '203.0.113.9', 80), { code: 'EADDRNOTAVAIL' })
})

t.test('node serves a UDP socket bound in another namespace', async (t) => {
  const fd = bindUdpIn(path, '127.0.0.1', 0)
  const port = localPort(fd)
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve))
  const message = new Promise<string>((resolve) => socket.once('message', (data) => resolve(data.toString())))
  const sender = bindUdpIn(path, '127.0.0.1', 0)
  const senderSocket = createSocket('udp4')
  await new Promise<void>((resolve) => senderSocket.bind({ fd: sender }, resolve))
  senderSocket.send('hello', port, '127.0.0.1')
  t.equal(await message, 'hello')
  socket.close()
  senderSocket.close()
})

t.test('no descriptor is left open by what fails', async (t) => {
  const before = listenTcpIn(path, '127.0.0.1', 0)
  closeDescriptor(before)
  for (let i = 0; i < 20; i++) {
    t.throws(() => listenTcpIn(path, '203.0.113.9', 80))
    t.throws(() => withNetworkNamespace('/etc/passwd', () => {}))
  }
  const after = listenTcpIn(path, '127.0.0.1', 0)
  closeDescriptor(after)
  t.equal(after, before)
})

/** Asynchronous, for the server it asks lives in this very thread. */
async function curlInside(url: string): Promise<string> {
  const { execFile } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    execFile('nsenter', [`--net=${path}`, 'curl', '-s', '-g', '-m', '5', url], (error, stdout) => {
      if (error) reject(error)
      else resolve(stdout)
    })
  })
}

t.test('a namespace has one cookie, and no other has it', async (t) => {
  t.equal(networkNamespaceCookie(path), networkNamespaceCookie(path))
  t.equal(networkNamespaceCookie(), networkNamespaceCookie('/proc/self/ns/net'))
  t.not(networkNamespaceCookie(path), networkNamespaceCookie())
})
