// `kubectl logs`: the output a container has written to its file in the pod's directory, from its start or its last lines, and
// on with `--follow`. Files are watched by the kernel (inotify), not polled.

import { createReadStream, type FSWatcher, watch } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { KubeObject } from './apiserver/kind.ts'
import { podDirectory } from './controllers/pod-record.ts'

interface Sink {
  write(text: string): boolean
  end(): void
}

/** Longer logs are cut to their end; nobody reads more in a terminal. */
const TAIL_BYTES_MAX = 4 * 1024 * 1024

export function podLogProvider(rack: string) {
  return async (pod: KubeObject, query: URLSearchParams): Promise<string | ((sink: Sink) => () => void)> => {
    const spec = pod['spec'] as { nodeName?: string; containers?: { name: string }[] }
    const container = query.get('container') ?? spec.containers?.[0]?.name ?? ''
    const name = { namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '' }
    const file = join(podDirectory(rack, spec.nodeName ?? '', name), `${container}.log`)
    const text = await readTail(file)
    const lines = query.get('tailLines')
    const shown = lines === null ? text : lastLines(text, Number(lines))
    if (query.get('follow') !== 'true') return shown
    const { size } = await stat(file).catch(() => ({ size: 0 }))
    return (sink) => follow(file, size, shown, sink)
  }
}

async function readTail(file: string): Promise<string> {
  const text = await readFile(file).catch(() => Buffer.alloc(0))
  return text.subarray(Math.max(0, text.length - TAIL_BYTES_MAX)).toString('utf8')
}

function lastLines(text: string, count: number): string {
  const lines = text.split('\n')
  const hasEnd = lines.at(-1) === ''
  return lines.slice(-(count + (hasEnd ? 1 : 0))).join('\n')
}

/** Sends what is there, then what comes, until the file is gone or the reader leaves. */
function follow(file: string, size: number, shown: string, sink: Sink): () => void {
  let offset = size
  let reading = false
  let again = false
  sink.write(shown)
  const read = () => {
    if (reading) {
      again = true
      return
    }
    reading = true
    const stream = createReadStream(file, { start: offset, encoding: 'utf8' })
    stream.on('data', (chunk) => {
      offset += Buffer.byteLength(chunk)
      sink.write(String(chunk))
    })
    stream.on('error', () => sink.end())
    stream.on('close', () => {
      reading = false
      if (again) {
        again = false
        read()
      }
    })
  }
  let watcher: FSWatcher | undefined
  try {
    watcher = watch(file, (event) => {
      if (event === 'rename') sink.end()
      else read()
    })
    watcher.on('error', () => sink.end())
    // What was written between the first look and the watch.
    read()
  } catch {
    sink.end()
  }
  return () => watcher?.close()
}
