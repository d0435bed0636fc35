// What is wrong with a policy, as everybody is told of it.

import type { PolicyFault } from '../model/policy.ts'

export function faultText({ path, text, mend }: PolicyFault): string {
  return `${path}: ${text}. Mend: ${mend}`
}
