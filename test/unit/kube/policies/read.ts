// Policies written as users write them.

import { parse } from 'yaml'
import type { ApiObject } from '../../../../src/kube/objects.ts'
import type { LabelSelector } from '../../../../src/model/label-selector.ts'
import { NAMESPACE_NAME_LABEL, type PolicyFault } from '../../../../src/model/policy.ts'

/** @param spec YAML of what stands below `spec:` */
export function object(spec: string, metadata: Partial<ApiObject['metadata']> = {}): ApiObject {
  return {
    metadata: { namespace: 'shop', name: 'web', uid: 'u1', ...metadata },
    spec: parse(spec),
  } as ApiObject
}

export const ALL: LabelSelector = { requirements: [] }

export function where(...requirements: readonly (readonly [string, string, ...string[]])[]): LabelSelector {
  return {
    requirements: requirements.map(([key, operator, ...values]) => ({
      key,
      operator: operator as LabelSelector['requirements'][number]['operator'],
      values,
    })),
  }
}

export const is = (key: string, value: string) => where([key, 'In', value])
export const SHOP = is(NAMESPACE_NAME_LABEL, 'shop')

export function ports(protocol: 'tcp' | 'udp' | 'sctp', first: number, last = first) {
  return { kind: 'ports', protocol, first, last }
}

/** `path: text`, without the mends. */
export function told(faults: readonly PolicyFault[]): string[] {
  return faults.map(({ path, text }) => `${path}: ${text}`)
}
