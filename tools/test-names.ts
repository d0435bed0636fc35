// What tests and benchmarks call the things they make on the machine: everything carries the pid of the process that made it, so that
// two runs never collide and the next run finds what a killed one left (test-leftovers.ts). Whoever names something in another
// way adds its pattern here; test/unit/test-names.test.ts holds the sources against these.

/** Directories of temporary files of one run: the prefix, its pid, and something random. */
export const TEST_DIRECTORY_PREFIX = 'weir-tests-'

/** Each pattern's first group is the pid of the maker. */
export const TEST_NAMES = {
  /** No person calls a rack so. */
  rack: /^[a-z]+pid(\d+)b?$/,
  namespace: /^weir-t(\d+)/,
  pinsOrCgroup: /^(?:weir-test|libbpf-ts)-(?:.*-)?(\d+)$/,
  directory: new RegExp(`^${TEST_DIRECTORY_PREFIX}(\\d+)-`),
} as const

/** @param kind small letters, the test's; at most `RACK_NAME_MAX` less ten of them fit beside a pid */
export function testRackName(kind: string): string {
  return `${kind}pid${process.pid}`
}
