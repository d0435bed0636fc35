// Keys under our own prefix on this node's object that nobody follows: a `weir.network/drian` would drain nothing, and say nothing. Pure.

import { unknownKeys } from '../../model/own-keys.ts'
import type { Node } from '../../model/service.ts'
import type { RoutingProblem } from './node-facts.ts'

/** Labels are for everybody to select by, so only one that comes near a key of ours is a slip. */
export function nodeKeyProblems({
  annotations,
  labels,
}: Pick<Node, 'annotations' | 'labels'>): RoutingProblem[] {
  return [
    ...unknownKeys(annotations, 'an annotation of a Node').map(({ key, why }) => ({
      source: `node annotation ${key}`,
      why,
    })),
    ...unknownKeys(labels, 'a label or taint of a Node')
      .filter(({ near, isElsewhere }) => isElsewhere || near !== undefined)
      .map(({ key, why }) => ({ source: `node label ${key}`, why })),
  ]
}
