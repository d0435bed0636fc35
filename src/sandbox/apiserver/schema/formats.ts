// String and number formats that a schema may ask for. A format we do not know is accepted, as the real server does.

import { isIP, isIPv4, isIPv6 } from 'node:net'

const quantityPattern = /^[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?\d+))?$/
const dateTimePattern = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/
const durationPattern = /^[+-]?(0|(\d+(\.\d*)?(ns|us|µs|ms|s|m|h|d|w))+)$/
const uuidPattern = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i
const hostnamePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?$/i
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const int32Limit = 2 ** 31

function isInt32(value: unknown): boolean {
  return typeof value === 'number' && value >= -int32Limit && value < int32Limit
}

export function isCidr(text: string): boolean {
  const slash = text.lastIndexOf('/')
  const family = isIP(text.slice(0, slash))
  const length = text.slice(slash + 1)
  return slash > 0 && family !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128)
}

const textFormats: Record<string, (text: string) => boolean> = {
  'date-time': (text) => dateTimePattern.test(text) && !Number.isNaN(Date.parse(text)),
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)),
  duration: (text) => durationPattern.test(text),
  byte: (text) => base64Pattern.test(text.replaceAll(/[\r\n]/g, '')),
  uuid: (text) => uuidPattern.test(text),
  uuid3: (text) => uuidPattern.test(text),
  uuid4: (text) => uuidPattern.test(text),
  uuid5: (text) => uuidPattern.test(text),
  ipv4: (text) => isIPv4(text),
  ipv6: (text) => isIPv6(text),
  cidr: isCidr,
  mac: (text) => /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(text),
  hostname: (text) => text.length <= 253 && hostnamePattern.test(text),
  email: (text) => /^[^\s@]+@[^\s@]+$/.test(text),
  uri: (text) => URL.canParse(text),
  quantity: (text) => quantityPattern.test(text),
}

export function matchesFormat(format: string, value: unknown): boolean {
  if (format === 'int32') return isInt32(value)
  if (typeof value !== 'string') return true
  return textFormats[format]?.(value) ?? true
}
