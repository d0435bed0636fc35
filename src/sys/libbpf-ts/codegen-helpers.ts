// Functions that generated modules carry themselves, so that they need nothing at run time.

import type { HelperName } from './codegen-fields.ts'

export const HELPERS: Readonly<Record<HelperName, string>> = {
  checkCount: `function checkCount(found: number, count: number, field: string): void {
  if (found !== count) throw new RangeError(\`\${field} has \${found} elements, \${count} are needed\`)
}`,
  readBytes: `/** A copy: what is decoded may be memory that changes. */
function readBytes(buffer: Buffer, offset: number, length: number): Uint8Array {
  if (offset + length > buffer.length) throw new RangeError(\`\${length} bytes at \${offset} lie outside of the buffer\`)
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i += 1) bytes[i] = buffer[offset + i] as number
  return bytes
}`,
  readText: `function readText(buffer: Buffer, offset: number, length: number): string {
  if (offset + length > buffer.length) throw new RangeError(\`\${length} bytes at \${offset} lie outside of the buffer\`)
  const end = buffer.indexOf(0, offset)
  return buffer.toString('utf8', offset, end < 0 || end > offset + length ? offset + length : end)
}`,
  writeBytes: `function writeBytes(value: Uint8Array, length: number, field: string, buffer: Buffer, offset: number): void {
  if (value.length !== length) throw new RangeError(\`\${field} has \${value.length} bytes, \${length} are needed\`)
  buffer.set(value, offset)
}`,
  writeText: `function writeText(value: string, length: number, field: string, buffer: Buffer, offset: number): void {
  const encoded = Buffer.from(value, 'utf8')
  if (encoded.length >= length) throw new RangeError(\`\${field} does not fit \${length - 1} bytes and its end\`)
  buffer.fill(0, offset, offset + length)
  buffer.set(encoded, offset)
}`,
}
