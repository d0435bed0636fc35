// The workload kinds of `apps/v1`, as far as the rack's controllers read or write them. See objects.ts.

import type { ApiObject, Condition, LabelSelector, PodTemplate, Resource } from './objects.ts'

export interface Deployment extends ApiObject {
  spec: {
    replicas?: number
    selector: LabelSelector
    template: PodTemplate
    paused?: boolean
    minReadySeconds?: number
    revisionHistoryLimit?: number
    progressDeadlineSeconds?: number
    strategy?: {
      type?: 'RollingUpdate' | 'Recreate'
      rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string }
    }
  }
  status?: {
    observedGeneration?: number
    replicas?: number
    updatedReplicas?: number
    readyReplicas?: number
    availableReplicas?: number
    unavailableReplicas?: number
    conditions?: Condition[]
  }
}

export interface ReplicaSet extends ApiObject {
  spec: { replicas?: number; selector: LabelSelector; template?: PodTemplate; minReadySeconds?: number }
  status?: {
    replicas?: number
    fullyLabeledReplicas?: number
    readyReplicas?: number
    availableReplicas?: number
    observedGeneration?: number
  }
}

export interface DaemonSet extends ApiObject {
  spec: {
    selector: LabelSelector
    template: PodTemplate
    minReadySeconds?: number
    updateStrategy?: {
      type?: 'RollingUpdate' | 'OnDelete'
      rollingUpdate?: { maxUnavailable?: number | string }
    }
  }
  status?: {
    observedGeneration?: number
    desiredNumberScheduled?: number
    currentNumberScheduled?: number
    updatedNumberScheduled?: number
    numberMisscheduled?: number
    numberReady?: number
    numberAvailable?: number
    numberUnavailable?: number
  }
}

export interface StatefulSet extends ApiObject {
  spec: {
    replicas?: number
    serviceName?: string
    selector: LabelSelector
    template: PodTemplate
    podManagementPolicy?: 'OrderedReady' | 'Parallel'
    updateStrategy?: { type?: 'RollingUpdate' | 'OnDelete'; rollingUpdate?: { partition?: number } }
  }
  status?: {
    observedGeneration?: number
    replicas?: number
    readyReplicas?: number
    availableReplicas?: number
    currentReplicas?: number
    updatedReplicas?: number
    currentRevision?: string
    updateRevision?: string
  }
}

const apps = (plural: string, kind: string) => ({
  group: 'apps',
  version: 'v1',
  plural,
  kind,
  namespaced: true,
})

export const DEPLOYMENTS: Resource<Deployment> = apps('deployments', 'Deployment')
export const REPLICA_SETS: Resource<ReplicaSet> = apps('replicasets', 'ReplicaSet')
export const DAEMON_SETS: Resource<DaemonSet> = apps('daemonsets', 'DaemonSet')
export const STATEFUL_SETS: Resource<StatefulSet> = apps('statefulsets', 'StatefulSet')
