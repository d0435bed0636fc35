// All that sources may know → the routing of this node: those that are enabled are read, and merged. Pure.

import type { CiliumObjects } from '../../model/cilium.ts'
import { ciliumPart } from './cilium.ts'
import { kubeRouterPart } from './kube-router.ts'
import { type MergedRouting, type MergeInput, mergeRouting } from './merge.ts'
import type { RoutingPart } from './node-facts.ts'

export interface SourcesInput extends Omit<MergeInput, 'others'> {
  readonly cilium: CiliumObjects
}

export function mergeSources({ file, pools, facts, cilium }: SourcesInput): MergedRouting {
  const { sources } = file
  const others: RoutingPart[] = []
  if (sources.kubeRouter.enabled) others.push(kubeRouterPart(sources.kubeRouter, facts))
  if (sources.cilium.enabled) others.push(ciliumPart(sources.cilium, cilium, facts))
  return mergeRouting({ file, pools, facts, others })
}
