// Containers between control processes, and probes against real servers.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ensureCertificates } from '../../../../src/sandbox/apiserver/certificates.ts'
import { ContainerLife } from '../../../../src/sandbox/controllers/container-life.ts'
import { startProbe } from '../../../../src/sandbox/controllers/probes.ts'

const container = { name: 'main', image: 'none' }
const place = { namespace: undefined, cgroup: undefined }

t.test('what ended before its restart is restarted by the next control process', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-life-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const end = { exitCode: 137, signal: 9, startedMs: 1000, finishedMs: 2000 }
  for (const { restartPolicy, isInit = false, record, isKept } of [
    { restartPolicy: 'Always', record: end, isKept: false },
    { restartPolicy: 'Always', record: undefined, isKept: false },
    { restartPolicy: 'OnFailure', record: end, isKept: false },
    { restartPolicy: 'OnFailure', record: { ...end, exitCode: 0 }, isKept: true },
    { restartPolicy: 'Never', record: end, isKept: true },
    { restartPolicy: 'Always', isInit: true, record: { ...end, exitCode: 0 }, isKept: true },
  ] as const) {
    const life = new ContainerLife({
      container,
      isInit,
      restartPolicy,
      directory,
      hostname: 'pod',
      place: () => place,
      program: () => undefined,
      address: () => '127.0.0.1',
      changed: () => undefined,
      warn: () => undefined,
    })
    const adopted = life.adopt({ restartCount: 2, startedMs: 1000, end: record }, true)
    const name = `${restartPolicy}, ${isInit ? 'init, ' : ''}exit ${record?.exitCode ?? 'unseen'}`
    t.equal(adopted, isKept, name)
    t.equal(life.facts.restartCount, isKept ? 2 : 3, name)
    t.equal(life.facts.state, isKept ? 'ended' : 'waiting', name)
  }
})

const portOf = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

t.test('HTTP and HTTPS probes ask in their own scheme', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-probe-'))
  const { key, cert } = await ensureCertificates(directory)
  const plain = createHttpServer((_, response) => response.end())
  const secure = createHttpsServer({ key, cert }, (_, response) => response.end())
  t.teardown(async () => {
    plain.close()
    secure.close()
    await rm(directory, { recursive: true })
  })
  const ports = { plain: await portOf(plain), secure: await portOf(secure) }
  const verdict = (scheme: 'HTTP' | 'HTTPS', port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const probe = { httpGet: { scheme, port, path: '/' }, initialDelaySeconds: 0.01, failureThreshold: 1 }
      const running = startProbe(probe, { place, address: '127.0.0.1', container, env: {} }, (good) => {
        running.stop()
        resolve(good)
      })
    })
  t.equal(await verdict('HTTP', ports.plain), true)
  t.equal(await verdict('HTTPS', ports.secure), true, 'whoever signed the certificate')
  t.equal(await verdict('HTTPS', ports.plain), false)
  t.equal(await verdict('HTTP', ports.secure), false)
})
