// As much of ELF as is needed to find a section by name in a little-endian 64-bit object.

import { BpfError } from './errors.ts'

const ELF_MAGIC = 0x464c457f
const CLASS_64 = 2
const DATA_LITTLE_ENDIAN = 1
const SECTION_HEADER_BYTES = 64

/** The bytes of a section, or undefined when the object has none of that name. */
export function elfSection(file: Buffer, name: string, path: string): Buffer | undefined {
  const isElf = file.length >= SECTION_HEADER_BYTES && file.readUInt32LE(0) === ELF_MAGIC
  if (!isElf || file[4] !== CLASS_64 || file[5] !== DATA_LITTLE_ENDIAN) {
    throw new BpfError({
      action: 'reading',
      object: path,
      code: 'invalid',
      reason: 'not a little-endian 64-bit ELF object',
      mend: 'compile it with clang -target bpfel -g',
    })
  }
  const table = Number(file.readBigUInt64LE(0x28))
  const count = file.readUInt16LE(0x3c)
  const header = (index: number) => {
    const at = table + index * SECTION_HEADER_BYTES
    const offset = Number(file.readBigUInt64LE(at + 24))
    return { name: file.readUInt32LE(at), offset, size: Number(file.readBigUInt64LE(at + 32)) }
  }
  const names = header(file.readUInt16LE(0x3e))
  for (let index = 0; index < count; index += 1) {
    const section = header(index)
    const start = names.offset + section.name
    if (file.toString('latin1', start, file.indexOf(0, start)) !== name) continue
    return file.subarray(section.offset, section.offset + section.size)
  }
  return undefined
}
