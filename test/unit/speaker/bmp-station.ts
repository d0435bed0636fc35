// A BMP station (RFC 7854) of plain TCP: takes messages apart and prints a line for each. Started as a program of its own, in the
// namespace that gobgpd is in, `node bmp-station.ts PORT`, or in another that it reaches, `node bmp-station.ts PORT ADDRESS`.

import { createServer } from 'node:net'

const HEADER_BYTES = 6
const PEER_HEADER_BYTES = 42
const ROUTE_MONITORING = 0
const PEER_UP = 3
const INITIATION = 4
const SYSTEM_NAME = 2
/** Marker, length, type. */
const BGP_HEADER_BYTES = 19
const BGP_UPDATE = 2

createServer((socket) => {
  let rest = Buffer.alloc(0)
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data])
    while (rest.length >= HEADER_BYTES && rest.length >= rest.readUInt32BE(1)) {
      const length = rest.readUInt32BE(1)
      console.log(describe(rest.subarray(0, length)))
      rest = rest.subarray(length)
    }
  })
}).listen(Number(process.argv[2]), process.argv[3] ?? '127.0.0.1')

function describe(message: Buffer): string {
  const version = message.readUInt8(0)
  if (version !== 3) throw new Error(`BMP version ${version}`)
  const type = message.readUInt8(5)
  const body = message.subarray(HEADER_BYTES)
  if (type === INITIATION) return `initiation ${describeInitiation(body)}`
  if (type === PEER_UP) return `peer-up ${describePeer(body)}`
  if (type === ROUTE_MONITORING)
    return `route-monitoring ${describePeer(body)} ${nlriOf(body.subarray(PEER_HEADER_BYTES)).join(' ')}`
  return `type-${type}`
}

function describeInitiation(body: Buffer): string {
  const texts: string[] = []
  for (let at = 0; at + 4 <= body.length; at += 4 + body.readUInt16BE(at + 2)) {
    const value = body.toString('utf8', at + 4, at + 4 + body.readUInt16BE(at + 2))
    texts.push(`${body.readUInt16BE(at) === SYSTEM_NAME ? 'sysName' : 'information'}=${value}`)
  }
  return texts.sort().reverse().join(' ')
}

/** An IPv4 address stands in the last four of sixteen bytes. */
function describePeer(body: Buffer): string {
  return `${[...body.subarray(22, 26)].join('.')} AS ${body.readUInt32BE(26)}`
}

/** IPv4 prefixes of an UPDATE. */
function nlriOf(update: Buffer): string[] {
  if (update.readUInt8(BGP_HEADER_BYTES - 1) !== BGP_UPDATE) throw new Error('no UPDATE')
  const withdrawn = update.readUInt16BE(BGP_HEADER_BYTES)
  const attributesAt = BGP_HEADER_BYTES + 2 + withdrawn
  let at = attributesAt + 2 + update.readUInt16BE(attributesAt)
  const prefixes: string[] = []
  while (at < update.length) {
    const bits = update.readUInt8(at)
    const bytes = Math.ceil(bits / 8)
    const address = [0, 1, 2, 3].map((index) => (index < bytes ? update.readUInt8(at + 1 + index) : 0))
    prefixes.push(`${address.join('.')}/${bits}`)
    at += 1 + bytes
  }
  return prefixes
}
