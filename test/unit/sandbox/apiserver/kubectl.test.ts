// Real kubectl against the server with its built-in kinds, and replays of what kubectl of several versions once asked.

import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { builtinKinds } from '../../../../src/sandbox/apiserver/kinds/index.ts'
import { renderKubeconfig } from '../../../../src/sandbox/apiserver/kubeconfig.ts'
import { predictable, type RecordedCommand } from './recording.ts'
import { removeCertificates, startServer, token } from './test-server.ts'

const { findKubectl } = (await import(new URL('../../../../tools/kubectl.mjs', import.meta.url).href)) as {
  findKubectl: () => string
}

const home = await mkdtemp(join(tmpdir(), 'weir-kubectl-'))
const api = await startServer({ kinds: builtinKinds })
const kubectlProgram = findKubectl()
const server = `https://127.0.0.1:${api.port}`
await writeFile(join(home, 'config'), renderKubeconfig({ name: 'test', server, caPem: api.ca, token }))

t.teardown(async () => {
  await api.close()
  await removeCertificates()
  await rm(home, { recursive: true })
})

interface Outcome {
  code: number | null
  output: string
}

/** Runs kubectl; `afterMs` ends a command that would go on (get --watch). */
const kubectl = (args: string, input = '', afterMs = 20_000): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const child = spawn(kubectlProgram, args.split(' '), {
      env: { PATH: process.env['PATH'], HOME: home, KUBECONFIG: join(home, 'config') },
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    const timer = setTimeout(() => child.kill(), afterMs)
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, output })
    })
    child.stdin.end(input)
  })

const deployment = (replicas: number, field = 'replicas'): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web } }
spec:
  ${field}: ${replicas}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [ { name: main, image: one, ports: [ { containerPort: 80 } ] } ] }
`
const service = `
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [ { port: 80, targetPort: 8080 } ] }
`
const pod = `
apiVersion: v1
kind: Pod
metadata: { name: bound }
spec: { nodeName: node1, containers: [ { name: main, image: one } ] }
`

const config = (name: string): string => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}, labels: { set: one } }
`

t.test('what people do with kubectl works', async (t) => {
  const cases: [string, string, number, RegExp][] = [
    ['apply -f -', deployment(2), 0, /deployment.apps\/web created/],
    ['apply -f -', deployment(2), 0, /unchanged/],
    ['apply -f - --dry-run=server', deployment(3, 'replica'), 1, /unknown field "spec.replica"/],
    ['diff -f -', deployment(4), 1, /\+ {2}replicas: 4/],
    ['apply -f -', service, 0, /service\/web created/],
    ['get services', '', 0, /web +ClusterIP +10\.96\./],
    ['scale deployment web --replicas=3', '', 0, /scaled/],
    ['get deployment web -o jsonpath={.spec.replicas}', '', 0, /^3$/],
    ['label deployment web tier=front', '', 0, /labeled/],
    ['get all -l tier=front -o name', '', 0, /^deployment.apps\/web$/m],
    ['describe deployment web', '', 0, /Replicas: +3 desired/],
    ['describe service web', '', 0, /TargetPort: +8080\/TCP/],
    ['explain deployment.spec.strategy', '', 0, /rollingUpdate/],
    ['apply --server-side -f -', deployment(5), 1, /conflict/],
    ['apply --server-side --force-conflicts -f -', deployment(5), 0, /serverside-applied/],
    [
      'patch deployment web --subresource=status --type=merge -p {"status":{"conditions":[{"type":"Available","status":"True"}]}}',
      '',
      0,
      /patched/,
    ],
    ['wait --for=condition=Available deployment/web --timeout=5s', '', 0, /condition met/],
    ['apply -f -', pod, 0, /created/],
    ['get pods --field-selector spec.nodeName=node1 -o name', '', 0, /^pod\/bound$/m],
    ['delete pod bound --grace-period=0 --force', '', 0, /force deleted/],
    ['delete deployment,service web --timeout=5s', '', 0, /service "web" deleted/],
    ['get deployment web', '', 1, /NotFound.*deployments.apps "web" not found/],
    ['api-resources --api-group=apps', '', 0, /deployments +deploy +apps\/v1 +true +Deployment/],
    ['version', '', 0, /weir-sandbox/],
    // Typed commands send protobuf.
    ['create namespace made', '', 0, /namespace\/made created/],
    ['create deployment made -n made --image=one --replicas=2 --port=80', '', 0, /created/],
    ['create service loadbalancer made -n made --tcp=80:8080', '', 0, /created/],
    [
      'get service made -n made -o jsonpath={.spec.ports[0]}',
      '',
      0,
      /"port":80,"protocol":"TCP","targetPort":8080/,
    ],
    ['create configmap made -n made --from-literal=a=b', '', 0, /created/],
    ['create secret generic made -n made --from-literal=a=b', '', 0, /created/],
    ['get secret made -n made -o jsonpath={.data.a}', '', 0, /^Yg==$/],
    ['delete namespace made --timeout=5s', '', 0, /deleted/],
    ['auth can-i create pods', '', 0, /^yes$/m],
    ['auth can-i --list', '', 0, /\*\.\*/],
    ['auth whoami', '', 0, /Username +tester/],
    // From client-side to server-side apply: nothing the cluster gave a pod is taken away with kubectl's old ownership.
    ['apply -f -', pod, 0, /created/],
    ['apply --server-side -f -', pod, 0, /^pod\/bound serverside-applied\n$/],
    ['apply --server-side -f -', pod, 0, /^pod\/bound serverside-applied\n$/],
    ['exec bound -- ls', '', 1, /no exec; in a rack use: weir sandbox exec default\/bound/],
    ['apply --prune -l set=one -f -', `${config('kept')}---${config('pruned')}`, 0, /pruned created/],
    ['apply --prune -l set=one -f -', config('kept'), 0, /kept unchanged\n(.*\n)*configmap\/pruned pruned/],
  ]
  for (const [args, input, code, output] of cases) {
    const outcome = await kubectl(args, input)
    t.equal(outcome.code, code, `${args}: ${outcome.output}`)
    t.match(outcome.output, output, args)
  }
})

t.test('apply of a List makes its items, and unknown fields in them are refused', async (t) => {
  const list = (field: string) => `
apiVersion: v1
kind: List
items:
- { apiVersion: v1, kind: ConfigMap, metadata: { name: listed }, ${field}: { key: value } }
- { apiVersion: v1, kind: Service, metadata: { name: listed }, spec: { ports: [ { port: 80 } ] } }
`
  t.match(await kubectl('apply -f -', list('data')), {
    code: 0,
    output: /configmap\/listed created\nservice\/listed created/,
  })
  t.match(await kubectl('apply -f -', list('dada')), { code: 1, output: /unknown field "dada"/ })
  t.match(await kubectl('delete configmap,service listed'), { code: 0 })
})

t.test('get --watch prints changes as they come', async (t) => {
  const watching = kubectl('get configmaps -n kube-public --watch-only', '', 1500)
  const timer = setTimeout(() => {
    void api.send('POST', '/api/v1/namespaces/kube-public/configmaps', {
      metadata: { name: 'seen' },
      data: { a: 'b' },
    })
  }, 900)
  t.match((await watching).output, /seen +1/)
  clearTimeout(timer)
})

const recordedDirectory = new URL('recorded/', import.meta.url)

for (const file of await readdir(recordedDirectory)) {
  t.test(`a replay of ${file} is answered as it was`, async (t) => {
    const commands = JSON.parse(await readFile(new URL(file, recordedDirectory), 'utf8')) as RecordedCommand[]
    const replayed = await startServer(predictable())
    for (const { command, exchanges } of commands) {
      for (const { method, path, headers, body, status, contentType, answer } of exchanges) {
        const name = `${command}: ${method} ${path}`
        const bytes = Buffer.from(body, 'base64')
        const length = { 'content-length': String(bytes.length) }
        if (new URLSearchParams(path.split('?')[1]).get('watch') === 'true' && status === 200) {
          const watch = await replayed.watch(path, headers)
          watch.close()
          continue
        }
        const reply = await replayed.send(method, path, bytes.toString('utf8'), { ...headers, ...length })
        t.strictSame([reply.status, reply.headers['content-type']], [status, contentType], name)
        if (answer !== undefined) t.strictSame(reply.body, answer, name)
      }
    }
    await replayed.close()
  })
}
