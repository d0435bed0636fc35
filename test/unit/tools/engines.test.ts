// What a distribution's Node meets first: npm compares it with our `engines`, and warns in five lines at every `npx weir` where it is older.
// What starts there (bootstrap.mjs, weir.mjs) runs on it, and hands over to the Node that npm brings.

import { readFileSync } from 'node:fs'
import t from 'tap'

interface Manifest {
  readonly engines: { readonly node: string }
  readonly optionalDependencies: Readonly<Record<string, string>>
}

const read = <T>(file: string) =>
  JSON.parse(readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8')) as T

t.test(
  'npm has nothing to warn of on the Node of Debian 12 and newer, and brings the one that is needed',
  async (t) => {
    const manifest = read<Manifest>('package.json')
    t.equal(manifest.engines.node, '>=18')
    t.strictSame(
      Object.values(manifest.optionalDependencies).map((version) => version.split('.')[0]),
      ['24', '24'],
    )
    const lock = read<{ packages: Record<string, Manifest> }>('package-lock.json')
    t.strictSame(lock.packages['']?.engines, manifest.engines)
  },
)
