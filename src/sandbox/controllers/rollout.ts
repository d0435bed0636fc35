// The arithmetic of a Deployment's rollout: from the ReplicaSets as they are to the sizes they should have next. Pure.
// After upstream: scale the new set up as far as maxSurge lets it, and the old ones down as far as maxUnavailable lets them,
// unhealthy old pods first, for they serve nobody.

import type { Deployment } from '../../kube/workloads.ts'

export interface SetSize {
  name: string
  /** spec.replicas */
  replicas: number
  available: number
}

export interface Strategy {
  type: 'RollingUpdate' | 'Recreate'
  maxSurge: number
  maxUnavailable: number
}

/** Old sets are given oldest first. Returns the sizes that change. */
export function planRollout(
  wanted: number,
  strategy: Strategy,
  next: SetSize,
  old: readonly SetSize[],
): Map<string, number> {
  if (strategy.type === 'Recreate') return planRecreate(wanted, next, old)
  const sizes = new Map<string, number>()
  const total = next.replicas + sum(old, 'replicas')
  if (next.replicas > wanted) sizes.set(next.name, wanted)
  else if (next.replicas < wanted) {
    const grown =
      next.replicas + Math.max(0, Math.min(wanted + strategy.maxSurge - total, wanted - next.replicas))
    if (grown !== next.replicas) sizes.set(next.name, grown)
  }
  for (const [name, size] of shrinkOld(wanted, strategy, next, old)) sizes.set(name, size)
  return sizes
}

function planRecreate(wanted: number, next: SetSize, old: readonly SetSize[]): Map<string, number> {
  const standing = old.filter((set) => set.replicas > 0)
  if (standing.length > 0) return new Map(standing.map((set) => [set.name, 0]))
  return next.replicas === wanted ? new Map() : new Map([[next.name, wanted]])
}

function shrinkOld(
  wanted: number,
  strategy: Strategy,
  next: SetSize,
  old: readonly SetSize[],
): Map<string, number> {
  const minAvailable = wanted - strategy.maxUnavailable
  const missingNew = Math.max(0, next.replicas - next.available)
  let room = next.replicas + sum(old, 'replicas') - minAvailable - missingNew
  const sizes = new Map(old.map((set) => [set.name, set.replicas]))
  if (room <= 0) return new Map()
  for (const set of old) {
    const unhealthy = Math.min(room, Math.max(0, set.replicas - set.available))
    sizes.set(set.name, set.replicas - unhealthy)
    room -= unhealthy
  }
  let spare = next.available + sum(old, 'available') - minAvailable
  for (const set of old) {
    const size = sizes.get(set.name) ?? 0
    const fewer = Math.min(Math.max(0, spare), size)
    sizes.set(set.name, size - fewer)
    spare -= fewer
  }
  for (const set of old) if (sizes.get(set.name) === set.replicas) sizes.delete(set.name)
  return sizes
}

/** maxSurge rounds up, maxUnavailable down; both zero would stand still, so one pod may then be missing. */
export function strategyOf(deployment: Deployment): Strategy {
  const { strategy, replicas = 1 } = deployment.spec
  const maxSurge = Math.ceil(share(strategy?.rollingUpdate?.maxSurge ?? '25%', replicas))
  const maxUnavailable = Math.floor(share(strategy?.rollingUpdate?.maxUnavailable ?? '25%', replicas))
  return {
    type: strategy?.type ?? 'RollingUpdate',
    maxSurge,
    maxUnavailable: Math.min(replicas, maxSurge === 0 && maxUnavailable === 0 ? 1 : maxUnavailable),
  }
}

function share(value: number | string, whole: number): number {
  if (typeof value === 'number') return value
  return value.endsWith('%') ? (Number(value.slice(0, -1)) * whole) / 100 : Number(value)
}

function sum(sets: readonly SetSize[], field: 'replicas' | 'available'): number {
  return sets.reduce((total, set) => total + set[field], 0)
}
