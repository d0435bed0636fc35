// Keeps one listener inside each of a set of network namespaces, for as long as the namespace is there: a namespace that is removed
// and made again (a node mended by `up`) is served again, and a removed one is let go, for an open socket would keep it and its
// links alive unseen.
//
// The kernel tells of a namespace's name coming and going (inotify on the directory), but not of the moment when it can be used: the
// name comes before the namespace is mounted on it, and its loopback is raised later still. So a name that came is tried until it
// works, for a limited time.

import { type FSWatcher, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { networkNamespaceId } from '../sys/libc/namespaces.ts'
import { namespaceExists } from './host.ts'
import { namespacePath } from './names.ts'

export interface NamespaceListener {
  close(): Promise<void>
}

const RETRY_MS = 100
/** Tries after a namespace's name came or went; `up` needs about a second from the name to the loopback. */
const TRIES_MAX = 100

interface Served {
  readonly id: string
  readonly listener: NamespaceListener
}

export class NamespaceListeners {
  readonly #open: (path: string) => Promise<NamespaceListener>
  readonly #log: (message: string) => void
  readonly #namespaces: ReadonlySet<string>
  readonly #served = new Map<string, Served>()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  #watcher: FSWatcher | undefined
  /** Looks at namespaces are strictly one after another. */
  #work: Promise<void> = Promise.resolve()

  constructor(
    namespaces: readonly string[],
    open: (path: string) => Promise<NamespaceListener>,
    log: (message: string) => void,
  ) {
    this.#namespaces = new Set(namespaces)
    this.#open = open
    this.#log = log
  }

  /** Resolves once every namespace that is there is served; fails if one of them can't be. */
  async start(): Promise<void> {
    const [first] = this.#namespaces
    if (first === undefined) return
    this.#watcher = watch(dirname(namespacePath(first)), (_event, name) => {
      if (name !== null && this.#namespaces.has(name)) this.#schedule(name, TRIES_MAX)
    })
    for (const namespace of this.#namespaces) await this.#look(namespace)
  }

  async close(): Promise<void> {
    this.#watcher?.close()
    for (const timer of this.#timers.values()) clearTimeout(timer)
    await this.#work
    for (const namespace of [...this.#served.keys()]) await this.#release(namespace)
  }

  #schedule(namespace: string, triesLeft: number): void {
    clearTimeout(this.#timers.get(namespace))
    const attempt = (): void => {
      this.#work = this.#work
        .then(() => this.#look(namespace))
        .catch((error: unknown) => {
          if (triesLeft > 1) this.#schedule(namespace, triesLeft - 1)
          else this.#log(`no listener in ${namespace}: ${String(error)}; is its loopback up?`)
        })
    }
    this.#timers.set(namespace, setTimeout(attempt, RETRY_MS).unref())
  }

  /** Makes the listener fit the namespace as it is now; fails where it is not ready yet. */
  async #look(namespace: string): Promise<void> {
    const path = namespacePath(namespace)
    const id = namespaceExists(namespace) ? networkNamespaceId(path) : undefined
    if (this.#served.get(namespace)?.id === id) return
    await this.#release(namespace)
    if (id === undefined) return
    this.#served.set(namespace, { id, listener: await this.#open(path) })
    if (this.#timers.has(namespace)) this.#log(`listening in ${basename(path)} again`)
  }

  async #release(namespace: string): Promise<void> {
    const served = this.#served.get(namespace)
    this.#served.delete(namespace)
    await served?.listener.close()
  }
}
