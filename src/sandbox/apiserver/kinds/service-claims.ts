// Which cluster addresses and node ports the other Services hold. Asked of the store's indexes, so that a write costs the same
// beside ten Services and beside ten thousand.

import type { AdmissionContext, KubeObject } from '../kind.ts'
import { canonicalAddress } from './ip-ranges.ts'
import { nodePortsOf, type ServiceSpec } from './service-spec.ts'

const addressIndex = 'clusterAddress'
const nodePortIndex = 'nodePort'

// Read only: indexed objects are the store's.
const specIn = (object: KubeObject): ServiceSpec => (object['spec'] ?? {}) as ServiceSpec

export const serviceIndexes = {
  [addressIndex]: (object: KubeObject): string[] => (specIn(object).clusterIPs ?? []).map(canonicalAddress),
  [nodePortIndex]: (object: KubeObject): string[] => nodePortsOf(specIn(object)).map(String),
}

/** What Services other than the one being written hold. */
export interface Claims {
  isAddressTaken(address: string): boolean
  isNodePortTaken(nodePort: number): boolean
}

export function claimsOfOthers({ metadata }: KubeObject, context: AdmissionContext): Claims {
  const isHeldByAnother = (index: string, key: string): boolean =>
    context
      .holders('', 'services', index, key)
      .some(
        (other) => other.metadata.name !== metadata.name || other.metadata.namespace !== metadata.namespace,
      )
  return {
    isAddressTaken: (address) => isHeldByAnother(addressIndex, canonicalAddress(address)),
    isNodePortTaken: (nodePort) => isHeldByAnother(nodePortIndex, String(nodePort)),
  }
}
