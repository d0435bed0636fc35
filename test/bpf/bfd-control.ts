// BFD control packets (RFC 5880 4.1) for tests: written from a description, and read back.

export interface Control {
  readonly version: number
  readonly diagnostic: number
  readonly state: 'admin-down' | 'down' | 'init' | 'up'
  /** P, F, C, A, D, M. */
  readonly flags: string
  readonly multiplier: number
  readonly length: number
  readonly mine: number
  readonly yours: number
  readonly desiredUs: number
  readonly requiredUs: number
}

const STATES = ['admin-down', 'down', 'init', 'up'] as const
const FLAGS = 'PFCADM'

export function encodeControl(control: Control): Buffer {
  const bytes = Buffer.alloc(24)
  const flags = [...FLAGS].reduce((bits, flag) => (bits << 1) | (control.flags.includes(flag) ? 1 : 0), 0)
  bytes[0] = (control.version << 5) | control.diagnostic
  bytes[1] = (STATES.indexOf(control.state) << 6) | flags
  bytes[2] = control.multiplier
  bytes[3] = control.length
  for (const [index, value] of [control.mine, control.yours, control.desiredUs, control.requiredUs].entries())
    bytes.writeUInt32BE(value, 4 + index * 4)
  return bytes
}

export function decodeControl(bytes: Buffer): Control {
  const [first = 0, second = 0, multiplier = 0, length = 0] = bytes
  return {
    version: first >> 5,
    diagnostic: first & 31,
    state: STATES[second >> 6] ?? 'admin-down',
    flags: [...FLAGS].filter((_, index) => second & (32 >> index)).join(''),
    multiplier,
    length,
    mine: bytes.readUInt32BE(4),
    yours: bytes.readUInt32BE(8),
    desiredUs: bytes.readUInt32BE(12),
    requiredUs: bytes.readUInt32BE(16),
  }
}
