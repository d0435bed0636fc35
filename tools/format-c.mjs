// clang-format over every C file of ours; --check only reports.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const CANDIDATES = ['clang-format-19', 'clang-format-18', 'clang-format']
const formatter = CANDIDATES.find((name) => spawnSync(name, ['--version']).status === 0)
const files = spawnSync('git', ['ls-files', '*.c', '*.h'], { cwd: root, encoding: 'utf8' })
  .stdout.split('\n')
  .filter(Boolean)

if (!formatter) {
  process.stderr.write('no clang-format found. Mend: apt-get install clang-format-19\n')
  process.exitCode = 1
} else if (files.length > 0) {
  const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
  process.exitCode = spawnSync(formatter, [...mode, ...files], { cwd: root, stdio: 'inherit' }).status ?? 1
}
