// What must survive a restart of the control process, per pod, in the pod's directory: which object it belongs to, its
// addresses, and how often its containers were started. The processes themselves are in pid files beside it.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PodName } from '../names.ts'
import { rackDirectory } from '../names.ts'
import type { PodAddress } from './pod-address.ts'
import type { ContainerFacts } from './pod-status.ts'

export interface ContainerRecord {
  restartCount: number
  startedMs: number
  /** How it ended, when it has and was not started again. */
  end: ContainerFacts['end'] | undefined
}

export interface PodRecord {
  uid: string
  node: string
  pod: PodName
  hostNetwork: boolean
  addresses: PodAddress[]
  startedMs: number
  containers: Record<string, ContainerRecord>
}

const FILE = 'pod.json'

export function podDirectory(rack: string, node: string, pod: PodName): string {
  return join(rackDirectory(rack), node, 'pods', `${pod.namespace}.${pod.name}`)
}

/** Written beside and moved into place, so that a kill leaves the old record or the new. */
export function saveRecord(rack: string, record: PodRecord): void {
  const directory = podDirectory(rack, record.node, record.pod)
  mkdirSync(directory, { recursive: true })
  const path = join(directory, FILE)
  writeFileSync(`${path}.new`, JSON.stringify(record))
  renameSync(`${path}.new`, path)
}

export function removeRecord(rack: string, node: string, pod: PodName): void {
  rmSync(podDirectory(rack, node, pod), { recursive: true, force: true })
}

/** Of the pod's object; none is recorded before its network is there. */
export function recordedUid(rack: string, node: string, pod: PodName): string {
  return readRecord(podDirectory(rack, node, pod))?.uid ?? '-unknown'
}

function readRecord(directory: string): PodRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as PodRecord
  } catch {
    // A directory without a record holds the logs of a pod that never started.
    return undefined
  }
}

/** Every pod recorded in the rack. */
export function loadRecords(rack: string): PodRecord[] {
  const records: PodRecord[] = []
  for (const node of entries(rackDirectory(rack))) {
    const pods = join(rackDirectory(rack), node, 'pods')
    records.push(...entries(pods).flatMap((pod) => readRecord(join(pods, pod)) ?? []))
  }
  return records
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch {
    return []
  }
}
