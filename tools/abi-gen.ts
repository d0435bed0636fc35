// Writes TypeScript codecs for the types that an object's global variables have: node tools/abi-gen.ts OBJECT OUTPUT.
// The text is replaced only when it differs; otherwise just its time moves, which is how the build knows it is up to date.

import { existsSync, mkdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readObjectBtf } from '../src/sys/libbpf-ts/btf.ts'
import { generateCodecs } from '../src/sys/libbpf-ts/codegen.ts'

const layoutPath = fileURLToPath(new URL('../src/sys/libbpf-ts/layout.ts', import.meta.url))

function importSpecifier(outputPath: string): string {
  const path = relative(dirname(resolve(outputPath)), layoutPath)
  return path.startsWith('.') ? path : `./${path}`
}

function main(args: readonly string[]): number {
  const [objectPath, outputPath] = args
  if (objectPath === undefined || outputPath === undefined || args.length > 2) {
    process.stderr.write('Usage: node tools/abi-gen.ts OBJECT.o OUTPUT.gen.ts\n')
    return 2
  }
  try {
    const text = generateCodecs(readObjectBtf(objectPath), { layoutModule: importSpecifier(outputPath) })
    const isSame = existsSync(outputPath) && readFileSync(outputPath, 'utf8') === text
    mkdirSync(dirname(outputPath), { recursive: true })
    if (isSame) {
      utimesSync(outputPath, new Date(), new Date())
      return 0
    }
    writeFileSync(`${outputPath}.part`, text)
    renameSync(`${outputPath}.part`, outputPath)
    return 0
  } catch (error) {
    process.stderr.write(`abi-gen: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

process.exitCode = main(process.argv.slice(2))
