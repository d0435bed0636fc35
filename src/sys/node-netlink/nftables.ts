// nf_tables, as far as one question goes: is there a table, or a chain, of this name? Rules that iptables (nft) makes are chains there.

import { SystemError } from '../libc/errors.ts'
import { Connection } from './connection.ts'
import { type Family, familyNumber } from './family.ts'
import { BodyWriter } from './message.ts'

const NETLINK_NETFILTER = 12
const NFNL_SUBSYS_NFTABLES = 10 << 8
const NFT_MSG_GETTABLE = NFNL_SUBSYS_NFTABLES | 1
const NFT_MSG_GETCHAIN = NFNL_SUBSYS_NFTABLES | 4
const NFTA_TABLE_NAME = 1
const NFTA_CHAIN_TABLE = 1
const NFTA_CHAIN_NAME = 3

/** Asking for a chain or table by its name costs the same however many there are. */
export class Nftables {
  readonly #connection: Connection

  constructor(namespacePath?: string) {
    this.#connection = new Connection(namespacePath, NETLINK_NETFILTER)
  }

  hasTable(family: Family, table: string): Promise<boolean> {
    const body = header(family).text(NFTA_TABLE_NAME, table).finish()
    return this.#has(NFT_MSG_GETTABLE, body, `ask for ${family} table ${table}`)
  }

  hasChain(family: Family, table: string, chain: string): Promise<boolean> {
    const body = header(family).text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, chain).finish()
    return this.#has(NFT_MSG_GETCHAIN, body, `ask for ${family} chain ${chain} of table ${table}`)
  }

  close(): void {
    this.#connection.close()
  }

  async #has(type: number, body: Buffer, action: string): Promise<boolean> {
    try {
      await this.#connection.ask({ type, body, action })
      return true
    } catch (error) {
      // EINVAL, EOPNOTSUPP: the kernel has no nf_tables at all.
      if (error instanceof SystemError && ['ENOENT', 'EINVAL', 'EOPNOTSUPP'].includes(error.code))
        return false
      throw error
    }
  }
}

/** struct nfgenmsg { family, version, resource id }. */
function header(family: Family): BodyWriter {
  return new BodyWriter().fixed(Buffer.from([familyNumber(family), 0, 0, 0]))
}
