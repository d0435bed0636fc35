// A handful of kinds, just large enough for the server's own rules: the tests here are about the server, not about the kinds.

import type { KindDefinition, Schema } from '../../../../src/sandbox/apiserver/kind.ts'

const text: Schema = { type: 'string' }
const freeMap: Schema = { type: 'object', additionalProperties: text }
const anything: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }

const object = (properties: Record<string, Schema>): Schema => ({
  type: 'object',
  properties: { apiVersion: text, kind: text, metadata: anything, ...properties },
})

const kind = (
  given: Partial<KindDefinition> & Pick<KindDefinition, 'kind' | 'plural' | 'schema'>,
): KindDefinition => {
  const group = given.group ?? ''
  const version = given.version ?? 'v1'
  return {
    group,
    version,
    listKind: `${given.kind}List`,
    singular: given.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: true,
    definitionName: `io.k8s.api.${group === '' ? 'core' : group}.${version}.${given.kind}`,
    hasStatusSubresource: false,
    columns: [],
    hasGeneration: false,
    ...given,
  }
}

const template: Schema = {
  type: 'object',
  properties: {
    metadata: anything,
    spec: {
      type: 'object',
      properties: {
        containers: {
          type: 'array',
          items: {
            type: 'object',
            required: ['name'],
            properties: {
              name: text,
              image: text,
              ports: {
                type: 'array',
                'x-kubernetes-list-type': 'map',
                'x-kubernetes-list-map-keys': ['containerPort', 'protocol'],
                'x-kubernetes-patch-strategy': 'merge',
                'x-kubernetes-patch-merge-key': 'containerPort',
                items: {
                  type: 'object',
                  properties: {
                    containerPort: { type: 'integer' },
                    name: text,
                    protocol: { type: 'string', default: 'TCP' },
                  },
                },
              },
            },
          },
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          'x-kubernetes-patch-strategy': 'merge',
          'x-kubernetes-patch-merge-key': 'name',
        },
      },
    },
  },
}

export const tinyKinds: readonly KindDefinition[] = [
  kind({
    kind: 'CustomResourceDefinition',
    group: 'apiextensions.k8s.io',
    plural: 'customresourcedefinitions',
    shortNames: ['crd', 'crds'],
    namespaced: false,
    hasStatusSubresource: true,
    hasGeneration: true,
    schema: { $ref: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition' },
  }),
  kind({
    kind: 'Namespace',
    plural: 'namespaces',
    shortNames: ['ns'],
    namespaced: false,
    hasStatusSubresource: true,
    schema: object({ spec: anything, status: anything }),
  }),
  kind({
    kind: 'ConfigMap',
    plural: 'configmaps',
    shortNames: ['cm'],
    schema: object({ data: freeMap, immutable: { type: 'boolean' } }),
    columns: [
      {
        name: 'Data',
        type: 'integer',
        priority: 0,
        cell: (map) => Object.keys((map['data'] as object) ?? {}).length,
      },
    ],
  }),
  kind({
    kind: 'Pod',
    plural: 'pods',
    shortNames: ['po'],
    categories: ['all'],
    hasStatusSubresource: true,
    deletionGraceSeconds: (pod) => ((pod['spec'] as { nodeName?: string } | undefined)?.nodeName ? 30 : 0),
    schema: object({
      spec: {
        ...template.properties?.['spec'],
        properties: { ...template.properties?.['spec']?.properties, nodeName: text },
      },
      status: anything,
    }),
  }),
  kind({
    kind: 'Deployment',
    group: 'apps',
    plural: 'deployments',
    shortNames: ['deploy'],
    categories: ['all'],
    hasStatusSubresource: true,
    hasGeneration: true,
    scale: {
      specReplicasPath: '.spec.replicas',
      statusReplicasPath: '.status.replicas',
      labelSelectorPath: '.spec.selector',
    },
    schema: object({
      spec: {
        type: 'object',
        required: ['selector', 'template'],
        properties: {
          replicas: { type: 'integer', minimum: 0, default: 1 },
          paused: { type: 'boolean' },
          selector: anything,
          template,
        },
      },
      status: anything,
    }),
  }),
]
