// The kernel's table of connections: large enough for a measurement, and emptied for one network namespace by the message that `conntrack -F`
// sends. Not by the command: a child's end makes the kernel cut the next test run short.

import { readFileSync, writeFileSync } from 'node:fs'
import {
  AF_NETLINK,
  closeDescriptor,
  DatagramReceiver,
  openSocket,
  SOCK_RAW,
  sendDatagram,
} from '../../src/sys/libc/sockets.ts'
import type { Effort } from '../frame/figure.ts'
import type { Bed } from './topology.ts'

export interface ConntrackSize {
  /** Flows of one network namespace. */
  readonly max: number
  /** Of the one table for all of them. */
  readonly buckets: number
}

const NETLINK_NETFILTER = 12
/** NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE; without attributes it means all. */
const DELETE = 0x0102
const REQUEST_AND_ACKNOWLEDGE = 0x1 | 0x4
const HEADER_BYTES = 16
const MESSAGE_BYTES = HEADER_BYTES + 4
const KERNEL_ADDRESS_BYTES = 12
const NLMSG_ERROR = 2
const ANSWER_BYTES = 1024

/** Synchronous: the kernel has done it when it returns. */
export function forgetConnections(bed: Bed): void {
  bed.inside('node', () => {
    const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
    try {
      const message = Buffer.alloc(MESSAGE_BYTES)
      message.writeUInt32LE(MESSAGE_BYTES, 0)
      message.writeUInt16LE(DELETE, 4)
      message.writeUInt16LE(REQUEST_AND_ACKNOWLEDGE, 6)
      const kernel = Buffer.alloc(KERNEL_ADDRESS_BYTES)
      kernel.writeUInt16LE(AF_NETLINK)
      sendDatagram(fd, message, kernel)
      const receiver = new DatagramReceiver(fd, ANSWER_BYTES)
      const answer = receiver.receive()
      const isAnswer = answer !== undefined && receiver.buffer.readUInt16LE(4) === NLMSG_ERROR
      const errno = isAnswer ? receiver.buffer.readInt32LE(HEADER_BYTES) : undefined
      if (errno !== 0)
        throw new Error(`the connections of ${bed.name} could not be forgotten (${errno ?? 'no answer'})`)
    } finally {
      closeDescriptor(fd)
    }
  })
}

/** Large enough that no flow meets its bounds, and chains in it are short; what is larger stays. */
export function raiseConntrack(size: ConntrackSize, { defer }: Pick<Effort, 'defer'>): void {
  for (const [name, value] of Object.entries(size)) {
    const path = `/proc/sys/net/netfilter/nf_conntrack_${name}`
    const before = readFileSync(path, 'utf8').trim()
    if (Number(before) >= value) continue
    writeFileSync(path, String(value))
    defer(() => writeFileSync(path, before))
  }
}
