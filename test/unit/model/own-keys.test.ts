// The registry of keys under our prefix: nothing in src/ reads, writes or names one that is not in it, and what is not in it is told of.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  DRAIN_KEY,
  NODE_KEYS,
  OWN_PREFIX,
  POLICY_KEYS,
  ROUTE_KEYS,
  SERVICE_KEYS,
  SLICE_KEYS,
  unknownKeys,
} from '../../../src/model/own-keys.ts'

const ROOT = join(import.meta.dirname, '../../..')
const REGISTERED: readonly string[] = [
  ...Object.values(SERVICE_KEYS),
  ...Object.values(SLICE_KEYS),
  ...Object.values(POLICY_KEYS),
  ...Object.values(NODE_KEYS),
  DRAIN_KEY,
]
/** No keys: the class of load balancers. */
const OTHERS = ['weir.network/bgp']

function sources(): string[] {
  return ['src', 'manifests'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(ts|ya?ml)$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name)),
  )
}

t.test('every key that anything names is registered', async (t) => {
  const strays = sources().flatMap((file) =>
    // Conditions begin with a capital.
    [...readFileSync(file, 'utf8').matchAll(/weir\.network\/[a-z][a-z-]*[a-z]/g)]
      .map(([key]) => key)
      .filter((key) => !REGISTERED.includes(key) && !OTHERS.includes(key))
      .map((key) => `${key} in ${file.slice(ROOT.length + 1)}`),
  )
  // The example of a slip.
  t.strictSame([...new Set(strays)], ['weir.network/drian in src/routing/sources/node-keys.ts'])
  t.ok(ROUTE_KEYS.every((key) => REGISTERED.includes(key)))
  t.ok(REGISTERED.every((key) => key.startsWith(OWN_PREFIX)))
})

t.test('what is not is told of, with what was meant', async (t) => {
  const why = (key: string, place: Parameters<typeof unknownKeys>[1]) =>
    unknownKeys({ [key]: 'x', 'example.com/forwarding': 'y' }, place).map((one) => one.why)
  for (const key of Object.values(SERVICE_KEYS)) t.same(why(key, 'an annotation of a Service'), [])
  const cases: [string, Parameters<typeof unknownKeys>[1], RegExp][] = [
    [
      'weir.network/fowarding',
      'an annotation of a Service',
      /no such key \(did you mean 'weir.network\/forwarding'\?\)/,
    ],
    ['weir.network/adress-pool', 'an annotation of a Service', /mean 'weir.network\/address-pool'/],
    ['weir.network/bgp-comunities', 'an annotation of a Service', /mean 'weir.network\/bgp-communities'/],
    ['weir.network/zzzzzzzz', 'an annotation of a Service', /no such key$/],
    [
      'weir.network/weight',
      'an annotation of a Service',
      /not followed here: it is an annotation of an EndpointSlice/,
    ],
    ['weir.network/policy-mode', 'an annotation of a Service', /here: it is an annotation of a policy/],
    ['weir.network/drian', 'a label or taint of a Node', /mean 'weir.network\/drain'/],
    ['weir.network/drain', 'an annotation of a Node', /it is a label or taint of a Node/],
  ]
  for (const [key, place, expected] of cases) t.match(why(key, place), [expected], `${key} as ${place}`)
})
