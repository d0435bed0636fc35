// A ring buffer read on a worker thread, for rates that would keep the main loop busy.
//
// The worker loads a module that exports `onBatch(batch)`; whatever that returns but undefined is posted to the main thread. Descriptors
// belong to the process, so the worker uses the map's number: the map must stay open until close() has resolved.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { BpfMap } from './map.ts'
import { duplicateDescriptor } from './native.ts'
import { type RingBatch, RingBuffer } from './ring-buffer.ts'

const WORKER_KIND = 'libbpf-ts ring worker'

export interface RingWorkerOptions {
  /** URL of the module that exports onBatch. */
  readonly module: URL
  readonly intervalMs?: number
  readonly onMessage: (message: unknown) => void
  readonly onError: (error: unknown) => void
}

export interface RingWorker {
  /** Stops reading and resolves when the thread has ended. */
  close(): Promise<void>
}

interface WorkerData {
  readonly kind: typeof WORKER_KIND
  readonly fd: number
  readonly module: string
  readonly intervalMs?: number
}

/** Starts a thread that reads this ring. */
export function startRingWorker(map: BpfMap, options: RingWorkerOptions): RingWorker {
  const interval = options.intervalMs === undefined ? {} : { intervalMs: options.intervalMs }
  const data: WorkerData = { kind: WORKER_KIND, fd: map.fd, module: options.module.href, ...interval }
  const worker = new Worker(new URL(import.meta.url), { workerData: data })
  worker.on('message', options.onMessage)
  worker.on('error', options.onError)
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  return {
    close: () => {
      worker.postMessage('stop')
      return ended
    },
  }
}

async function runWorker({ fd, module, intervalMs }: WorkerData): Promise<void> {
  const { onBatch } = (await import(module)) as { onBatch: (batch: RingBatch) => unknown }
  const map = new BpfMap(duplicateDescriptor(fd))
  const ring = new RingBuffer(map)
  const handle = (batch: RingBatch) => {
    const message = onBatch(batch)
    if (message !== undefined) parentPort?.postMessage(message)
  }
  ring.start(handle, intervalMs === undefined ? {} : { intervalMs })
  parentPort?.once('message', () => {
    ring.stop()
    // What came before the stop is still delivered.
    while (ring.consume(handle) > 0);
    map.close()
  })
}

if (!isMainThread && (workerData as WorkerData | undefined)?.kind === WORKER_KIND) {
  await runWorker(workerData as WorkerData)
}
