// What the tests of list and watch share: a follower of little things, and a server that holds some.

import type t from 'tap'
import { createKubeClient } from '../../../src/kube/client.ts'
import { type Change, type ListWatchOptions, listWatch } from '../../../src/kube/list-watch.ts'
import { type ApiObject, SERVICES } from '../../../src/kube/objects.ts'
import { type FakeServer, fakeServer } from './fake-server.ts'

export interface Thing extends ApiObject {
  value?: number
}

interface Followed {
  changes: Change<number>[]
  batches: number
  problems: string[]
  follower: ReturnType<typeof listWatch<Thing, number>>
  brief: () => string[]
}

const THINGS = { ...SERVICES, objectType: undefined } as unknown as ListWatchOptions<
  Thing,
  number
>['resource']

export function follow(
  test: Tap,
  servers: readonly FakeServer[],
  more: Partial<ListWatchOptions<Thing, number>> = {},
): Followed {
  const client = createKubeClient({ servers: servers.map((server) => server.url) })
  const followed: Followed = {
    changes: [],
    batches: 0,
    problems: [],
    brief: () => followed.changes.map((change) => `${change.type} ${change.key.split('/')[1]}`),
    follower: listWatch<Thing, number>({
      client,
      resource: THINGS,
      project: (thing) => thing.value,
      onChanges: (changes) => {
        followed.changes.push(...changes)
        followed.batches++
      },
      onProblem: (error) => followed.problems.push(error.code),
      backoff: { firstMs: 4, maxMs: 40 },
      streamsLists: false,
      ...more,
    }),
  }
  test.teardown(() => {
    followed.follower.close()
    client.close()
  })
  return followed
}

type Tap = Pick<typeof t, 'teardown'>

export async function serverWith(test: Tap, count: number): Promise<FakeServer> {
  const server = await fakeServer()
  test.teardown(() => server.close())
  for (let index = 0; index < count; index++) server.setSilently({ name: `s${index}`, value: index })
  return server
}
