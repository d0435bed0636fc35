// Makes gobgp-v3.gen.ts from gobgp-v3.proto: `node bgp/proto/generate.ts`. The result is checked in, so that nothing needs the
// generator at run time; test/unit/bgp/proto.test.ts notices when the two have drifted apart.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const folder = import.meta.dirname
export const GENERATED_FILE = join(folder, 'gobgp-v3.gen.ts')

/** The generated code as text. Throws with buf's own words when the .proto does not compile. */
export function generate(): string {
  const out = mkdtempSync(join(tmpdir(), 'weir-proto-'))
  const binaries = join(folder, '../../node_modules/.bin')
  try {
    const child = spawnSync(join(binaries, 'buf'), ['generate', '--output', out], {
      cwd: folder,
      encoding: 'utf8',
      env: {
        ...process.env,
        PATH: `${binaries}${delimiter}${process.env['PATH'] ?? ''}`,
        BUF_CACHE_DIR: out,
      },
    })
    if (child.status !== 0)
      throw new Error(`buf generate failed: ${child.error?.message ?? ''}${child.stderr ?? ''}`)
    return readFileSync(join(out, 'gobgp-v3_pb.ts'), 'utf8')
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

if (import.meta.main) writeFileSync(GENERATED_FILE, generate())
