// Names of capabilities (RFC 5492), for those that have no message of their own in gobgpd's interface.

/** IANA's registry, as far as routers send them and gobgpd does not know them. */
const BY_CODE: ReadonlyMap<number, string> = new Map([
  [6, 'extended-message'],
  [9, 'role'],
  [75, 'software-version'],
])

export function capabilityName(code: number): string {
  return BY_CODE.get(code) ?? `code-${code}`
}
