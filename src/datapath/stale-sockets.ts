// Ends connected sockets that point at a backend which serves no more. Translated once at connect(), they would go on sending
// there for as long as their owner keeps them: a resolver's UDP socket, for days.
//
//   after backends left → list translated sockets, namespace by namespace → ask whether each backend still serves → end
//
// Which sockets are ours only their own storage knows, so an iterator (bpf/weir_iter.bpf.c) lists them; a socket that somebody
// connected to a pod's own address is never in the list. Listing takes some 30 us a namespace for UDP and 2 ms for TCP, so no
// thread of its own is needed: a turn of the event loop for each. TCP is the operator's choice, and then only when the pod is
// gone: a connection to a pod that merely stopped being ready is the owner's to end.

import { setImmediate } from 'node:timers/promises'
import { type Address, formatAddress } from '../model/address.ts'
import { Rounds } from '../reconcile/rounds.ts'
import type { BpfIterator } from '../sys/libbpf-ts/iterator.ts'
import { SystemError } from '../sys/libc/errors.ts'
import { withNetworkNamespace } from '../sys/libc/namespaces.ts'
import { networkNamespaceCookie } from '../sys/libc/sockets.ts'
import { SocketDiagnosis } from '../sys/node-netlink/socket-diagnosis.ts'
import { decodeTranslatedSocket, TRANSLATED_SOCKET_BYTES } from './abi.gen.ts'
import type { BackendKey, FrontendKey } from './kernel-tables.ts'
import type { SocketLists } from './load.ts'
import type { PodNamespace } from './nexthop-plan.ts'

/** Changes come in bursts: one look for all of them. */
const SETTLE_MS = 20
/** A connect() may have chosen its backend just before the tables changed and be connected just after the look. */
const SECOND_LOOK_MS = 1000
const RETRY_MIN_MS = 1000
const RETRY_MAX_MS = 60_000

export type SocketProtocol = 'udp' | 'tcp'

export interface TranslatedSocket {
  readonly cookie: bigint
  readonly local: { readonly address: Address; readonly port: number }
  readonly service: FrontendKey
  readonly backend: BackendKey
}

export interface StaleSocketsOptions {
  readonly lists: SocketLists | undefined
  /** Why there are no lists. */
  readonly problem: string | undefined
  readonly endsTcp: boolean
  /** Of the pods of this node; the node's own namespace is always looked at. */
  readonly namespaces: () => readonly PodNamespace[]
  readonly isServing: (service: FrontendKey, backend: BackendKey) => boolean
  /** Addresses that still belong to pods; costly, hence asked for at most once a look, and only for TCP. */
  readonly listedAddresses: () => ReadonlySet<Address>
  readonly onProblem: (action: string, error: unknown) => void
}

export interface StaleSocketsStatus {
  /** Why sockets cannot be ended on this node; undefined: they can. */
  readonly problem: string | undefined
  readonly endsTcp: boolean
  readonly ended: Readonly<Record<SocketProtocol, number>>
}

export class StaleSockets {
  readonly #options: StaleSocketsOptions
  readonly #rounds: Rounds
  readonly #ended: Record<SocketProtocol, number> = { udp: 0, tcp: 0 }
  #problem: string | undefined
  #owesSecondLook = false
  /** Of this look, once it was needed. */
  #listed: ReadonlySet<Address> | undefined

  constructor(options: StaleSocketsOptions) {
    this.#options = options
    this.#problem = options.problem
    this.#rounds = new Rounds({
      name: 'stale sockets',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.look(),
      onError: (error) => options.onProblem('ending sockets of backends that are gone', error),
    })
  }

  get status(): StaleSocketsStatus {
    return { problem: this.#problem, endsTcp: this.#options.endsTcp, ended: { ...this.#ended } }
  }

  /** To be called when the kernel's tables no longer lead to some backends. */
  backendsLeft(): void {
    if (!this.#options.lists) return
    this.#owesSecondLook = true
    this.#rounds.request()
  }

  async close(): Promise<void> {
    await this.#rounds.close()
  }

  /** One look at all sockets of this node. */
  async look(): Promise<void> {
    const { lists, endsTcp, namespaces } = this.#options
    if (!lists) return
    if (this.#owesSecondLook) this.#rounds.requestIn(SECOND_LOOK_MS)
    this.#owesSecondLook = false
    this.#listed = undefined
    const seen = new Set<bigint>()
    for (const namespace of [undefined, ...namespaces()]) {
      if (namespace !== undefined && seen.has(namespace.cookie)) continue
      if (namespace !== undefined) seen.add(namespace.cookie)
      await this.#look(lists.udp, 'udp', namespace)
      if (endsTcp) await this.#look(lists.tcp, 'tcp', namespace)
      await setImmediate()
    }
    this.#listed = undefined
  }

  async #look(
    list: BpfIterator,
    protocol: SocketProtocol,
    namespace: PodNamespace | undefined,
  ): Promise<void> {
    const sockets = this.#list(list, protocol, namespace)
    const stale = sockets.filter((socket) => this.#isStale(socket, protocol))
    if (stale.length === 0) return
    const diagnosis = new SocketDiagnosis(namespace?.path)
    try {
      for (const socket of stale) await this.#end(diagnosis, socket, protocol)
    } finally {
      diagnosis.close()
    }
  }

  /** Empty for a namespace that is gone, or whose path leads elsewhere by now: its pod's end is told next. */
  #list(
    list: BpfIterator,
    protocol: SocketProtocol,
    namespace: PodNamespace | undefined,
  ): readonly TranslatedSocket[] {
    if (namespace === undefined) return decodeSockets(list.read(list.open()), protocol)
    try {
      const run = withNetworkNamespace(namespace.path, () =>
        networkNamespaceCookie() === namespace.cookie ? list.open() : undefined,
      )
      return run === undefined ? [] : decodeSockets(list.read(run), protocol)
    } catch (error) {
      if (error instanceof SystemError && error.code === 'ENOENT') return []
      throw error
    }
  }

  #isStale({ service, backend }: TranslatedSocket, protocol: SocketProtocol): boolean {
    return (
      !this.#options.isServing(service, backend) && (protocol === 'udp' || this.#isPodGone(backend.address))
    )
  }

  #isPodGone(address: Address): boolean {
    this.#listed ??= this.#options.listedAddresses()
    return !this.#listed.has(address)
  }

  async #end(diagnosis: SocketDiagnosis, socket: TranslatedSocket, protocol: SocketProtocol): Promise<void> {
    const { cookie, local, backend } = socket
    try {
      if (await diagnosis.destroy({ protocol, local, remote: backend, cookie })) this.#ended[protocol] += 1
      this.#problem = undefined
    } catch (error) {
      if (!(error instanceof SystemError) || error.code !== 'EOPNOTSUPP') throw error
      this.#problem = `this kernel ends no ${protocol} sockets: it lacks CONFIG_INET_DIAG_DESTROY`
    }
  }
}

function decodeSockets(bytes: Buffer, protocol: SocketProtocol): TranslatedSocket[] {
  const name = protocol === 'udp' ? 'UDP' : 'TCP'
  return Array.from({ length: Math.floor(bytes.length / TRANSLATED_SOCKET_BYTES) }, (_, index) => {
    const row = decodeTranslatedSocket(bytes, index * TRANSLATED_SOCKET_BYTES)
    return {
      cookie: row.cookie,
      local: { address: formatAddress(row.local), port: row.localPort },
      service: { address: formatAddress(row.service), port: row.servicePort, protocol: name },
      backend: { address: formatAddress(row.backend), port: row.backendPort, protocol: name },
    }
  })
}
