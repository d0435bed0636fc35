// One side of the race: runs the program a number of times in one system call, on the CPU its thread gets.

import { parentPort, workerData } from 'node:worker_threads'
import { BpfProgram } from '../../src/sys/libbpf-ts/index.ts'

export interface RaceOrder {
  readonly fd: number
  readonly runs: number
}

const { fd, runs } = workerData as RaceOrder
new BpfProgram(fd, 'race').testRun({ data: new Uint8Array(64), repeat: runs })
parentPort?.postMessage('done')
