// Secrets that the routing names, followed one by one, by name, so that a role need grant no others. Their bytes are handed to whoever
// asks for a key, and told nowhere else.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { type ListWatch, listWatch } from '../kube/list-watch.ts'
import { SECRETS, type Secret } from '../kube/objects.ts'

/** A Secret that may not be read is asked for again this seldom. */
const FORBIDDEN_RETRY_MS = 60_000
/** The first answer is waited for no longer: a session must not wait for an API server that is away. */
const FIRST_ANSWER_MS = 1_000

export interface SecretName {
  readonly namespace: string
  readonly name: string
}

type SecretData = Readonly<Record<string, string>>

export interface SecretStoreOptions {
  readonly client: KubeClient
  readonly log: Pick<Logger, 'warn'>
  /** One of those that are followed differs. */
  readonly onChange: () => void
}

interface FollowedSecret {
  readonly watch: ListWatch<SecretData>
  isForbidden: boolean
}

export class SecretStore {
  readonly #options: SecretStoreOptions
  readonly #followed = new Map<string, FollowedSecret>()

  constructor(options: SecretStoreOptions) {
    this.#options = options
  }

  /** Follows these and no others. */
  follow(names: readonly SecretName[]): void {
    const wanted = new Map(names.map((one) => [`${one.namespace}/${one.name}`, one]))
    for (const [key, { watch }] of this.#followed) {
      if (wanted.has(key)) continue
      watch.close()
      this.#followed.delete(key)
    }
    for (const [key, name] of wanted) if (!this.#followed.has(key)) this.#follow(key, name)
  }

  /** The text of one key. Rejects with a sentence that says why there is none; never with its text. */
  async read(namespace: string, name: string, key: string): Promise<string> {
    const at = `${namespace}/${name}`
    if (!this.#followed.has(at)) this.#follow(at, { namespace, name })
    const followed = this.#followed.get(at) as FollowedSecret
    if (followed.watch.state.failures === 0)
      await Promise.race([followed.watch.synced.catch(() => {}), firstAnswer()])
    const data = followed.watch.get(at)
    if (data === undefined && followed.isForbidden)
      throw new Error('this agent may not read it; name it in the Role weir-bgp-passwords of its namespace')
    if (data === undefined) throw new Error('there is no such Secret, or no API server has told of it yet')
    const encoded = Object.hasOwn(data, key) ? data[key] : undefined
    if (encoded === undefined) throw new Error('the Secret has no such key')
    return Buffer.from(encoded, 'base64').toString()
  }

  /** Whether it is there; undefined: nobody has said yet. */
  has({ namespace, name }: SecretName): boolean | undefined {
    const followed = this.#followed.get(`${namespace}/${name}`)
    if (followed === undefined || followed.watch.state.resourceVersion === undefined) return undefined
    return followed.watch.get(`${namespace}/${name}`) !== undefined
  }

  close(): void {
    this.follow([])
  }

  #follow(at: string, { namespace, name }: SecretName): void {
    const { client, log, onChange } = this.#options
    const followed: FollowedSecret = {
      isForbidden: false,
      watch: listWatch<Secret, SecretData>({
        client,
        resource: SECRETS,
        namespace,
        fieldSelector: `metadata.name=${name}`,
        project: ({ data }) => data ?? {},
        onChanges: () => {
          followed.isForbidden = false
          onChange()
        },
        onProblem: (error) => {
          if (isKubeError(error, 'forbidden') && !followed.isForbidden) {
            followed.isForbidden = true
            log.warn({ err: error, secret: at }, 'a Secret with a BGP password may not be read')
          }
        },
        leastPauseMs: (error) => (isKubeError(error, 'forbidden', 'not-found') ? FORBIDDEN_RETRY_MS : 0),
      }),
    }
    this.#followed.set(at, followed)
  }
}

function firstAnswer(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, FIRST_ANSWER_MS).unref()
  })
}
