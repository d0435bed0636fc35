// The condition of a Service whose address may not be announced: written, put right and taken away, by the leader alone.

import t from 'tap'
import { RefusalConditions } from '../../../src/agent/refusal-conditions.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import { readRefusalCondition } from '../../../src/kube/service-announcing.ts'
import type { RefusedAnnouncement } from '../../../src/model/announcement.ts'
import { type ObjectKey, objectKey, type Service } from '../../../src/model/service.ts'
import { serviceRow } from '../model/rows.ts'
import { cidr } from '../routing/beds.ts'

const KEY = objectKey('shop', 'web')
const REFUSED: RefusedAnnouncement = {
  announcement: { prefix: cidr('192.0.2.1/32'), family: 'ipv4', source: 'service', why: '' },
  code: 'outside-allowed',
  reason: '192.0.2.1/32 lies outside',
}

t.test('there while it is so', async (t) => {
  const services = new Map<string, Service>([[KEY, serviceRow({ key: KEY })]])
  const refused = new Map<ObjectKey, RefusedAnnouncement>()
  const patches: unknown[] = []
  let isLeader = false
  let isAway = false
  const conditions = new RefusalConditions({
    client: {
      patch: async (_resource, { name, subresource }, patch) => {
        if (isAway) throw new KubeError('unreachable', 'nobody is there')
        patches.push([
          name,
          subresource,
          (patch as { status: { conditions: unknown[] } }).status.conditions[0],
        ])
        return {} as never
      },
    },
    services,
    refused: () => refused,
    isLeader: () => isLeader,
    log: { warn: () => {} },
  })
  t.teardown(() => conditions.close())
  await conditions.look()
  refused.set(KEY, REFUSED)
  await conditions.look()
  t.same(patches, [], 'another agent writes')
  isLeader = true
  isAway = true
  await conditions.look()
  isAway = false
  await conditions.look()
  t.match(patches.splice(0), [
    [
      'web',
      'status',
      { type: /AnnouncementRefused$/, status: 'True', reason: 'OutsideAllowed', message: /Mend: add/ },
    ],
  ])
  const written = readRefusalCondition({
    metadata: {},
    spec: {},
    status: {
      conditions: [
        {
          type: 'weir.network/AnnouncementRefused',
          status: 'True',
          reason: 'OutsideAllowed',
          message:
            '192.0.2.1/32 lies outside. Mend: add its network to a pool or to routing.serviceNetworks, or take the address away',
        },
      ],
    },
  })
  services.set(KEY, serviceRow({ key: KEY, refusalCondition: written }))
  await conditions.look()
  t.same(patches, [], 'it is there')
  refused.clear()
  await conditions.look()
  t.match(patches, [['web', 'status', { $patch: 'delete' }]], 'and goes')
})
