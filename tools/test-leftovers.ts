// What a killed test run leaves on the machine, found by names (test-names.ts): everything that tests make carries the pid of the
// process that made it, and goes when that process is no more.

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname } from 'node:path'
import { killCgroup, removeCgroup } from '../src/sandbox/cgroups.ts'
import { downRack, namespaceProcesses } from '../src/sandbox/down.ts'
import { cgroupMount, deleteNamespace, listNamespaces } from '../src/sandbox/host.ts'
import { BPFFS_MOUNT, rackCgroup, rackDirectory } from '../src/sandbox/names.ts'
import { identify, signalProcess, waitForEnd } from '../src/sandbox/process.ts'
import { TEST_NAMES } from './test-names.ts'

const KILL_MS = 5000

/** Removes it all; resolves to what was there, for the reader. Safe beside other runs: their processes are alive. */
export async function removeTestLeftovers(): Promise<string[]> {
  const racks = deadRacks()
  for (const name of racks) {
    await killAll(rackCommands(name))
    await downRack(name)
  }
  const namespaces = listNamespaces().filter((name) => isOfTheDead(name, TEST_NAMES.namespace))
  await killAll(namespaceProcesses(namespaces))
  await Promise.all(namespaces.map(deleteNamespace))
  const cgroups = entriesOfTheDead(cgroupMount(), TEST_NAMES.pinsOrCgroup)
  for (const path of cgroups) {
    await killCgroup(path)
    await removeCgroup(path)
  }
  const paths = [
    ...entriesOfTheDead(BPFFS_MOUNT, TEST_NAMES.pinsOrCgroup),
    ...entriesOfTheDead(tmpdir(), TEST_NAMES.directory),
  ]
  for (const path of paths) rmSync(path, { recursive: true, force: true })
  return [...racks, ...namespaces, ...cgroups, ...paths]
}

/** A rack killed half way up or down may be left with any part of itself. */
function deadRacks(): string[] {
  const names = new Set([
    ...listNamespaces().map((name) => name.split('-')[0] ?? ''),
    ...readdirOrEmpty(dirname(rackDirectory('x'))),
    ...readdirOrEmpty(dirname(rackCgroup(cgroupMount(), 'x'))),
  ])
  return [...names].filter((name) => isOfTheDead(name, TEST_NAMES.rack))
}

/** Programs of ours that a test started for a rack outside its cgroups and namespaces, such as a control process. */
function rackCommands(rack: string): number[] {
  return readdirSync('/proc')
    .filter(
      (entry) => /^\d+$/.test(entry) && readOrEmpty(`/proc/${entry}/cmdline`).includes(`\0--rack\0${rack}\0`),
    )
    .map(Number)
}

async function killAll(pids: readonly number[]): Promise<void> {
  const processes = pids.map(identify).filter((one) => one !== undefined)
  for (const one of processes) signalProcess(one, 'SIGKILL')
  for (const one of processes) await waitForEnd(one, KILL_MS)
}

function entriesOfTheDead(directory: string, pattern: RegExp): string[] {
  return readdirOrEmpty(directory)
    .map((name) => `${directory}/${name}`)
    .filter((path) => isOfTheDead(basename(path), pattern))
}

function isOfTheDead(name: string, pattern: RegExp): boolean {
  const pid = pattern.exec(name)?.[1]
  return pid !== undefined && !existsSync(`/proc/${pid}`)
}

function readdirOrEmpty(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
