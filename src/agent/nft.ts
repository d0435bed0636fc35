// nft(8), run for one thing: our own table. The program is asked rather than the kernel, for it speaks to every kernel's rules in one
// language, and a script is one transaction.

import { execFile } from 'node:child_process'

const NFT_MS = 10_000
const OUTPUT_BYTES = 8 << 20

export class NftError extends Error {
  readonly code: 'NOT_INSTALLED' | 'REFUSED'
  constructor(code: NftError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** Runs `nft` in this process's namespace. @returns what it printed */
export function nft(args: readonly string[], script?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: NFT_MS, maxBuffer: OUTPUT_BYTES, encoding: 'utf8' } as const
    const child = execFile('nft', [...args], options, (error, stdout, stderr) => {
      if (!error) resolve(stdout)
      else if (error.code === 'ENOENT')
        reject(new NftError('NOT_INSTALLED', 'nft is not installed. Mend: apt-get install nftables', error))
      else reject(new NftError('REFUSED', `nft ${args.join(' ')}: ${stderr.trim() || error.message}`, error))
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(script ?? '')
  })
}

/** The table's text as the kernel holds it; undefined when there is none. */
export async function listTable(table: string): Promise<string | undefined> {
  try {
    return await nft(['-s', 'list', 'table', 'inet', table])
  } catch (error) {
    if (error instanceof NftError && /No such file/.test(error.message)) return undefined
    throw error
  }
}

/**
 * @param isExpected whether there should be one: then nft(8) must be there to look
 * @returns false when there was none
 */
export async function deleteTable(
  table: string,
  { isDryRun, isExpected }: { readonly isDryRun: boolean; readonly isExpected: boolean },
): Promise<boolean> {
  try {
    if ((await listTable(table)) === undefined) return false
    if (!isDryRun) await nft(['delete', 'table', 'inet', table])
    return true
  } catch (error) {
    if (!isExpected && error instanceof NftError && error.code === 'NOT_INSTALLED') return false
    throw error
  }
}
