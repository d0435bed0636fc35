// Ids by which one network namespace knows others. A link whose other end lives elsewhere tells where by such
// an id.

import { openNetworkNamespace } from '../libc/namespaces.ts'
import { closeDescriptor } from '../libc/sockets.ts'
import type { Connection } from './connection.ts'
import { Attributes, BodyWriter } from './message.ts'

const RTM_GETNSID = 90
const NETNSA_NSID = 1
const NETNSA_FD = 3
const structRtgenmsg = Buffer.alloc(4)

export class NamespaceIds {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /**
   * The id that the connection's namespace has given to the one at `path`, or undefined when it has given
   * none.
   */
  async of(path: string, signal?: AbortSignal): Promise<number | undefined> {
    const fd = openNetworkNamespace(path)
    try {
      return await this.ofOpen(fd, path, signal)
    } finally {
      closeDescriptor(fd)
    }
  }

  /** The same of one that stays open until the answer is there. @param name for error messages */
  async ofOpen(fd: number, name: string, signal?: AbortSignal): Promise<number | undefined> {
    const [id] = await this.#connection.ask({
      type: RTM_GETNSID,
      body: new BodyWriter().fixed(structRtgenmsg).u32(NETNSA_FD, fd).finish(),
      action: `ask the id of the network namespace ${name}`,
      decode: ({ body }) => new Attributes(body, structRtgenmsg.length).i32(NETNSA_NSID),
      signal,
    })
    return id === undefined || id < 0 ? undefined : id
  }
}
