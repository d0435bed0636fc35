// Records what a real kubectl asks and gets: runs a list of commands against a fresh embedded API server and writes every exchange
// to test/unit/sandbox/apiserver/recorded/kubectl-MINOR.json, where kubectl.test.ts replays it. Needs Node 24.
//
//   node tools/record-kubectl.mjs [path of kubectl]

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureCertificates } from '../src/sandbox/apiserver/certificates.ts'
import { renderKubeconfig } from '../src/sandbox/apiserver/kubeconfig.ts'
import { createApiServer } from '../src/sandbox/apiserver/server.ts'
import { isKept, keptHeaders, predictable } from '../test/unit/sandbox/apiserver/recording.ts'
import { tinyKinds } from '../test/unit/sandbox/apiserver/tiny-kinds.ts'
import { findKubectl, kubectlVersion } from './kubectl.mjs'

const recordedDirectory = fileURLToPath(new URL('../test/unit/sandbox/apiserver/recorded/', import.meta.url))
const token = 'recorder'

const deployment = (replicas) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web } }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [ { name: main, image: one, ports: [ { containerPort: 80 } ] } ] }
`
const config = (data) => `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":${data}}`

/** [arguments, standard input]: one of everything a person does. */
const commands = [
  ['api-resources'],
  ['get namespaces'],
  ['auth can-i create configmaps'],
  ['auth can-i --list'],
  ['auth whoami'],
  ['create -f -', config('{"a":"1"}')],
  ['apply -f -', config('{"a":"1","b":"2"}')],
  ['apply -f -', config('{"b":"3"}')],
  ['apply -f -', deployment(2)],
  ['apply -f - --dry-run=server', deployment(4)],
  ['diff -f -', deployment(4)],
  ['apply -f -', deployment(3).replace('replicas', 'replica')],
  ['get deployments,configmaps -o wide'],
  ['get deployment web -o yaml'],
  ['get deployment web -o jsonpath={.spec.replicas}'],
  ['get configmaps --sort-by=.metadata.name'],
  ['get all -l app=web'],
  ['get pods --field-selector spec.nodeName=node1 -A'],
  ['get deployment none'],
  ['label deployment web tier=front'],
  ['annotate deployment web note=seen'],
  ['scale deployment web --replicas=5'],
  ['patch deployment web -p {"spec":{"template":{"spec":{"containers":[{"name":"side","image":"two"}]}}}}'],
  ['patch deployment web --type=json -p [{"op":"replace","path":"/spec/replicas","value":6}]'],
  [
    'patch deployment web --subresource=status --type=merge -p {"status":{"observedGeneration":9,"replicas":6,"updatedReplicas":6,"availableReplicas":6,"conditions":[{"type":"Available","status":"True"}]}}',
  ],
  ['rollout status deployment web --timeout=5s'],
  ['wait --for=condition=Available deployment/web --timeout=5s'],
  ['apply --server-side -f -', deployment(2)],
  ['apply --server-side --force-conflicts -f -', deployment(2)],
  ['replace -f -', deployment(1)],
  ['explain deployment.spec.replicas'],
  ['delete deployment web --cascade=foreground --timeout=5s'],
  ['delete configmap conf --timeout=5s'],
  ['delete namespace default'],
  ['version'],
]

const run = (kubectl, args, input, home) =>
  new Promise((resolve, reject) => {
    const child = spawn(kubectl, args, {
      env: { PATH: process.env.PATH, HOME: home, KUBECONFIG: join(home, 'config') },
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    child.on('error', reject)
    child.on('close', resolve)
    child.stdin.end(input)
  })

async function record(kubectl) {
  const home = mkdtempSync(join(tmpdir(), 'weir-record-'))
  const { ca, key, cert } = await ensureCertificates(join(home, 'tls'))
  let exchanges = []
  const keptDiscovery = new Set()
  const observe = (request, answer) => {
    const query = request.query.toString()
    const path = query === '' ? request.path : `${request.path}?${query}`
    const headers = Object.fromEntries(
      keptHeaders.flatMap((name) =>
        request.headers[name] === undefined ? [] : [[name, request.headers[name]]],
      ),
    )
    const contentType = answer.headers['content-type'] ?? ''
    const isDiscovery = request.path === '/api' || request.path === '/apis'
    const isRepeated = isDiscovery && keptDiscovery.has(request.path)
    if (isDiscovery) keptDiscovery.add(request.path)
    const isAnswerKept = !answer.stream && !isRepeated && isKept(request.path) && answer.body !== ''
    const read = contentType.includes('json') ? JSON.parse : String
    exchanges.push({
      method: request.method,
      path,
      headers,
      body: request.body.toString('base64'),
      status: answer.status,
      contentType,
      ...(isAnswerKept ? { answer: read(answer.body) } : {}),
    })
  }
  const user = { name: 'tester', uid: '1', groups: ['system:masters'] }
  const options = {
    kinds: tinyKinds,
    tls: { key, cert },
    tokens: [{ token, user }],
    observe,
    ...predictable(),
  }
  const server = await createApiServer(options)
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
  const kubeconfig = renderKubeconfig({
    name: 'recorder',
    server: `https://127.0.0.1:${port}`,
    caPem: ca,
    token,
  })
  writeFileSync(join(home, 'config'), kubeconfig)
  const recorded = []
  for (const [command, input = ''] of commands) {
    exchanges = []
    const exitCode = await run(kubectl, command.split(' '), input, home)
    recorded.push({ command, exitCode, exchanges })
    console.log(
      `${String(exitCode).padStart(3)}  ${String(exchanges.length).padStart(3)} requests  kubectl ${command}`,
    )
  }
  await server.close()
  rmSync(home, { recursive: true })
  return recorded
}

const kubectl = process.argv[2] ?? findKubectl()
const { major, minor } = kubectlVersion(kubectl)
const file = join(recordedDirectory, `kubectl-${major}.${minor}.json`)
writeFileSync(file, `${JSON.stringify(await record(kubectl), null, 1)}\n`)
console.log(`written ${file}`)
