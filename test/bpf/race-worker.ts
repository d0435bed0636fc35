// One side of the race: runs the program on the CPU that its thread gets.

import { constants } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { BpfError, BpfProgram } from '../../src/sys/libbpf-ts/index.ts'

export interface RaceOrder {
  readonly fd: number
  readonly runs: number
}

const CHUNK_RUNS = 500_000
const { fd, runs } = workerData as RaceOrder
const program = new BpfProgram(fd, 'race')
for (let done = 0; done < runs; ) {
  try {
    program.testRun({ data: new Uint8Array(64), repeat: CHUNK_RUNS })
    done += CHUNK_RUNS
  } catch (error) {
    // A signal to this thread ends a test run early.
    if (!(error instanceof BpfError) || error.errno !== constants.errno.EINTR) throw error
  }
}
parentPort?.postMessage('done')
