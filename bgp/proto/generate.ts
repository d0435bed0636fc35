// Makes gobgp-v3.gen.ts and gobgp-v4.gen.ts from the .proto files: `node bgp/proto/generate.ts`. The result is checked in, so that
// nothing needs the generator at run time; test/unit/bgp/proto.test.ts notices when the two have drifted apart.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const folder = import.meta.dirname

/** The generated code: file → text. Throws with buf's own words when a .proto does not compile. */
export function generate(): ReadonlyMap<string, string> {
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
    return new Map(
      ['gobgp-v3', 'gobgp-v4'].map((name) => [
        join(folder, `${name}.gen.ts`),
        readFileSync(join(out, `${name}_pb.ts`), 'utf8'),
      ]),
    )
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

if (import.meta.main) for (const [file, text] of generate()) writeFileSync(file, text)
