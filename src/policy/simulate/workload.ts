// What a pod is called when it stands for its kind: the Deployment, StatefulSet, DaemonSet or Job that made it, as its labels and its
// name tell together; a pod that nobody made is called by its own name.

import type { PolicyPod } from '../../model/policy.ts'

/** What a controller appends to its pods' names: five letters that are no vowels, as the API server draws them. */
const DRAWN = /-[b-df-hj-np-tv-z0-9]{5}$/
const PLACE = /-\d+$/

/** `namespace/name`. */
export function workloadOf({ key, labels }: Pick<PolicyPod, 'key' | 'labels'>): string {
  const hash = labels['pod-template-hash']
  if (hash !== undefined) {
    const set = key.replace(DRAWN, '')
    return set.endsWith(`-${hash}`) ? set.slice(0, -hash.length - 1) : set
  }
  if (isOwnPlace(key, labels)) return key.replace(PLACE, '')
  const isDrawn = 'controller-revision-hash' in labels || 'batch.kubernetes.io/job-name' in labels
  return isDrawn ? key.replace(DRAWN, '') : key
}

/** A StatefulSet's pod is labelled with its own name. */
function isOwnPlace(key: string, labels: PolicyPod['labels']): boolean {
  const name = labels['statefulset.kubernetes.io/pod-name']
  return name !== undefined && key.endsWith(`/${name}`)
}
