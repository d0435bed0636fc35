// Service, as the core group has it: allocation and rules are next door, here is what kubectl get shows.

import type { KindDefinition, KubeObject } from '../kind.ts'
import { ageColumn, defineKind, labelsText, textColumn, wideColumn } from './define.ts'
import { admitService, allocateService } from './service-allocation.ts'
import { serviceIndexes } from './service-claims.ts'
import { ingressOf, type ServicePort, type ServiceSpec } from './service-spec.ts'
import { validateService } from './service-validation.ts'

function readSpec(object: KubeObject): ServiceSpec {
  return (object['spec'] ?? {}) as ServiceSpec
}

function externalIpText(object: KubeObject): string {
  const spec = readSpec(object)
  const chosen = spec.externalIPs ?? []
  if (spec.type === 'ExternalName') return spec.externalName ?? '<none>'
  if (spec.type !== 'LoadBalancer') return chosen.length > 0 ? chosen.join(',') : '<none>'
  const given = ingressOf(object)
    .map((entry) => entry.ip || entry.hostname || '')
    .filter((text) => text !== '')
    .sort()
  const all = [...new Set(given), ...chosen]
  return all.length > 0 ? all.join(',') : '<pending>'
}

function portText(port: ServicePort): string {
  const node = port.nodePort ? `:${port.nodePort}` : ''
  return `${port.port}${node}/${port.protocol ?? 'TCP'}`
}

function portsText(object: KubeObject): string {
  const ports = readSpec(object).ports ?? []
  return ports.length > 0 ? ports.map(portText).join(',') : '<none>'
}

export const serviceKind: KindDefinition = defineKind('Service', {
  package: 'core',
  shortNames: ['svc'],
  categories: ['all'],
  columns: [
    textColumn('Type', (object) => readSpec(object).type ?? ''),
    textColumn(
      'Cluster-IP',
      (object) => readSpec(object).clusterIPs?.[0] ?? (readSpec(object).clusterIP || '<none>'),
    ),
    textColumn('External-IP', externalIpText),
    textColumn('Port(s)', portsText),
    ageColumn,
    wideColumn('Selector', (object) => labelsText(readSpec(object).selector)),
  ],
  indexes: serviceIndexes,
  admit: admitService,
  allocate: allocateService,
  validate: validateService,
})
