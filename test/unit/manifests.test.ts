// manifests/ as a cluster would take them: every object is valid where unknown fields are refused, what names something else names what is
// there, and what containers are started with exists: commands, flags, files, the configuration itself.

import { execFileSync, spawnSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { parseConfig } from '../../src/agent/config.ts'
import type { ApiObject } from '../../src/kube/objects.ts'
import { CILIUM_CIDR_GROUPS, POLICY_RESOURCES, toPolicyObject } from '../../src/kube/policies/resources.ts'
import type { PolicyKind } from '../../src/model/policy.ts'
import type { KubeObject } from '../../src/sandbox/apiserver/kind.ts'
import { builtinKinds } from '../../src/sandbox/apiserver/kinds/index.ts'
import { pathOfGroupVersion } from '../../src/sandbox/apiserver/request.ts'
import { removeCertificates, startServer } from './sandbox/apiserver/test-server.ts'

const ROOT = join(import.meta.dirname, '../..')
const BASE = join(ROOT, 'manifests/base')
const SAMPLE = join(ROOT, 'manifests/sample')
/** Where the image has the checkout, by Containerfile. */
const IMAGE_ROOT = '/opt/weir/'
const NODE_ENVIRONMENT = { NODE_NAME: 'node1', NODE_IP: '192.0.2.1' }
const KUSTOMIZATION = 'kustomization.yaml'

interface Container {
  readonly name: string
  readonly image: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string }[]
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[]
  readonly livenessProbe?: { readonly httpGet: { readonly path: string; readonly port: string | number } }
  readonly readinessProbe?: { readonly httpGet: { readonly path: string; readonly port: string | number } }
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
}

interface Volume {
  readonly name: string
  readonly configMap?: { readonly name: string }
  readonly hostPath?: { readonly path: string }
}

interface PodSpec {
  readonly serviceAccountName?: string
  readonly automountServiceAccountToken?: boolean
  readonly hostNetwork?: boolean
  readonly terminationGracePeriodSeconds?: number
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
  readonly volumes?: readonly Volume[]
}

function read(directory: string): Map<string, readonly KubeObject[]> {
  const files = readdirSync(directory).filter((name) => name !== KUSTOMIZATION)
  return new Map(
    files.map((name) => {
      const documents = parseAllDocuments(readFileSync(join(directory, name), 'utf8'))
      for (const { errors, warnings } of documents) t.same([...errors, ...warnings], [], `${name} is YAML`)
      return [name, documents.map((document) => document.toJS() as KubeObject)]
    }),
  )
}

const base = [...read(BASE).values()].flat()
const objects = [...base, ...[...read(SAMPLE).values()].flat()]
const named = (kind: string, name: string) =>
  base.find((one) => one.kind === kind && one.metadata.name === name)
const daemonSets = base.filter(({ kind }) => kind === 'DaemonSet')

function podOf(object: KubeObject): PodSpec {
  const spec = object['spec'] as PodSpec & { template?: { spec: PodSpec } }
  return object.kind === 'Pod' ? spec : (spec.template?.spec as PodSpec)
}

const pods = objects
  .filter(({ kind }) => ['Pod', 'DaemonSet', 'Deployment'].includes(kind))
  .map((object) => ({ name: object.metadata.name ?? '', spec: podOf(object) }))
const containersOf = ({ initContainers = [], containers }: PodSpec) => [...initContainers, ...containers]
const agentPod = podOf(named('DaemonSet', 'weir') as KubeObject)
const gobgpdPod = podOf(named('DaemonSet', 'weir-gobgpd') as KubeObject)
const configData = (named('ConfigMap', 'weir') as KubeObject)['data'] as Record<string, string>
const configText = configData['agent.yaml'] ?? ''
const config = parseConfig(configText, 'the ConfigMap', NODE_ENVIRONMENT)

t.test('an API server that refuses unknown fields takes every object', async (t) => {
  const server = await startServer({ kinds: builtinKinds })
  t.teardown(async () => {
    await server.close()
    await removeCertificates()
  })
  for (const object of objects) {
    const kind = server.server.registry.findKind(object.apiVersion, object.kind)
    const what = `${object.kind} ${object.metadata.name}`
    if (!kind) {
      t.fail(`${what}: there is no such kind`)
      continue
    }
    const scope = kind.namespaced ? `/namespaces/${object.metadata.namespace ?? 'default'}` : ''
    const path = `${pathOfGroupVersion(kind.group, kind.version)}${scope}/${kind.plural}`
    const reply = await server.send('POST', `${path}?fieldValidation=Strict`, object)
    t.equal(reply.status, 201, `${what}: ${reply.body.message ?? 'taken'}`)
    t.equal(reply.headers['warning'], undefined, `${what}: without a warning`)
  }
})

t.test('kinds of policy, as Weir reads them, and the policies of the walk-through', async (t) => {
  const server = await startServer({ kinds: builtinKinds })
  t.teardown(async () => {
    await server.close()
    await removeCertificates()
  })
  const send = (object: KubeObject, plural: string, namespace?: string) => {
    const scope = namespace === undefined ? '' : `/namespaces/${namespace}`
    const prefix = object.apiVersion.includes('/')
      ? `/apis/${object.apiVersion}`
      : `/api/${object.apiVersion}`
    return server.send('POST', `${prefix}${scope}/${plural}?fieldValidation=Strict`, object)
  }
  const followed = [...Object.values(POLICY_RESOURCES), CILIUM_CIDR_GROUPS]
  const crds = [...read(join(ROOT, 'manifests/policy-crds')).values()].flat()
  for (const crd of crds) {
    const { status, body } = await send(crd, 'customresourcedefinitions')
    t.equal(status, 201, `${crd.metadata.name}: ${body.message ?? 'taken'}`)
    const { names, versions, scope } = crd['spec'] as {
      names: { kind: string; plural: string }
      versions: { name: string; served: boolean; storage: boolean }[]
      scope: string
    }
    const resource = followed.find(({ kind }) => kind === names.kind)
    t.match(resource, { plural: names.plural, namespaced: scope === 'Namespaced' })
    t.equal(crd.metadata.name, `${resource?.plural}.${resource?.group}`)
    t.ok(versions.every(({ served }) => served))
    t.same(
      versions.map(({ name }) => name),
      resource?.versions ?? [resource?.version],
      'the one that is read first is the stored one',
    )
    t.same(
      versions.map(({ storage }) => storage),
      versions.map((_, index) => index === 0),
    )
  }
  t.equal(crds.length, followed.length - 1, 'NetworkPolicy is no custom kind')

  for (const [file, policies] of read(join(ROOT, 'manifests/sample-policy')))
    for (const policy of policies) {
      const resource = followed.find(({ kind }) => kind === policy.kind)
      const { status, body } = await send(
        policy,
        resource?.plural ?? '',
        resource?.namespaced ? 'default' : undefined,
      )
      t.equal(status, 201, `${file}: ${body.message ?? 'taken'}`)
      if (policy.kind === CILIUM_CIDR_GROUPS.kind) continue
      const { faults, notes } = toPolicyObject(policy.kind as PolicyKind, body as ApiObject)
      t.same([...faults, ...notes], [], `${file} says only what is followed`)
    }

  const guard = (spec: object) => ({
    ...{ apiVersion: 'policy.networking.k8s.io/v1beta1', kind: 'ClusterNetworkPolicy' },
    ...{ metadata: { name: 'guard' }, spec: { tier: 'Admin', priority: 1, subject: { pods: {} }, ...spec } },
  })
  for (const spec of [
    { tier: 'admin' },
    { priority: 1001 },
    { subject: {} },
    { subject: { namespaces: {}, pods: {} } },
    { subject: { pod: {} } },
    { ingress: {} },
    { ingress: [{ from: [] }] },
    { egress: [{ action: 'Allow' }] },
  ])
    t.equal((await send(guard(spec), 'clusternetworkpolicies')).status >= 400, true, JSON.stringify(spec))
  const unknown = { ingress: [{ action: 'Deny', from: [{ later: {} }] }], later: 1 }
  const { status, body } = await send(guard(unknown), 'clusternetworkpolicies')
  t.equal(status, 201, body.message)
  t.match(body, { spec: unknown }, 'fields that are not followed are kept, for Weir tells of them')
})

t.test('the kustomization names every file', async (t) => {
  const { resources, namespace } = parse(readFileSync(join(BASE, KUSTOMIZATION), 'utf8'))
  t.same(
    [...resources].sort(),
    readdirSync(BASE)
      .filter((name) => name !== KUSTOMIZATION)
      .sort(),
  )
  for (const { kind, metadata } of base)
    t.ok(metadata.namespace === undefined || metadata.namespace === namespace, `${kind} ${metadata.name}`)
})

t.test('bindings bind roles and accounts that there are', async (t) => {
  const bindings = base.filter(({ kind }) => kind.endsWith('RoleBinding'))
  t.equal(bindings.length, 3)
  for (const binding of bindings) {
    const { roleRef, subjects } = binding as KubeObject & {
      roleRef: { kind: string; name: string }
      subjects: { kind: string; name: string; namespace?: string }[]
    }
    const role = named(roleRef.kind, roleRef.name)
    t.ok(role, `${binding.kind} ${binding.metadata.name}: ${roleRef.kind} ${roleRef.name}`)
    t.equal(role?.metadata.namespace, binding.metadata.namespace, 'of its namespace')
    for (const { kind, name, namespace } of subjects)
      t.equal(named(kind, name)?.metadata.namespace, namespace, `${kind} ${namespace}/${name}`)
  }
  const { rules } = (named('FlowSchema', 'weir') as KubeObject)['spec'] as {
    rules: { subjects: { serviceAccount: { name: string; namespace: string } }[] }[]
  }
  for (const { serviceAccount: one } of rules.flatMap(({ subjects }) => subjects))
    t.equal(named('ServiceAccount', one.name)?.metadata.namespace, one.namespace, 'whom the FlowSchema means')
  for (const { kind, metadata } of base.filter(({ kind }) => /^(Cluster)?Role$/.test(kind)))
    t.ok(
      bindings.some((binding) => (binding['roleRef'] as { name: string }).name === metadata.name),
      `${kind} ${metadata.name} is bound`,
    )
})

t.test('pods: accounts, volumes, mounts, ports, selectors', async (t) => {
  for (const { name, spec } of pods) {
    if (spec.serviceAccountName)
      t.ok(named('ServiceAccount', spec.serviceAccountName), `${name}: its account`)
    const volumes = (spec.volumes ?? []).map((one) => one.name)
    const mounts = containersOf(spec).flatMap(({ volumeMounts = [] }) => volumeMounts.map((one) => one.name))
    t.same([...new Set(mounts)].sort(), volumes.sort(), `${name}: mounts and volumes are the same`)
    for (const { configMap, name: volume } of spec.volumes ?? [])
      if (configMap)
        t.ok(named('ConfigMap', configMap.name), `${name}: ${volume} is of a ConfigMap that there is`)
    for (const { name: container, ports = [], livenessProbe, readinessProbe } of containersOf(spec))
      for (const { httpGet } of [livenessProbe ?? [], readinessProbe ?? []].flat())
        t.ok(
          ports.some(({ name, containerPort }) => httpGet.port === name || httpGet.port === containerPort),
          `${name}: the port that ${container} is probed at`,
        )
  }
  for (const { metadata, spec } of objects.filter(({ kind }) =>
    /^(DaemonSet|Deployment)$/.test(kind),
  ) as (KubeObject & {
    spec: { selector: { matchLabels: object }; template: { metadata: { labels: object } } }
  })[])
    t.match(spec.template.metadata.labels, spec.selector.matchLabels, `${metadata.name} selects its own pods`)
  const services = objects.filter(({ kind }) => kind === 'Service')
  for (const { metadata, spec } of services as (KubeObject & {
    spec: { selector: object; ports: { targetPort: string }[] }
  })[]) {
    const deployment = objects.find(({ kind }) => kind === 'Deployment') as KubeObject
    t.match(
      (deployment['spec'] as { template: { metadata: { labels: object } } }).template.metadata.labels,
      spec.selector,
    )
    const ports = podOf(deployment).containers.flatMap(({ ports = [] }) => ports.map((port) => port.name))
    for (const { targetPort } of spec.ports)
      t.ok(ports.includes(targetPort), `${metadata.name}: port ${targetPort}`)
  }
})

t.test('the configuration passes, and its variables are set where it is read', async (t) => {
  t.equal(config.nodeName, NODE_ENVIRONMENT.NODE_NAME)
  const variables = [...configText.replaceAll(/#.*/g, '').matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name)
  const readers = [agentPod, gobgpdPod]
    .flatMap(containersOf)
    .filter(({ command = [] }) => command.includes('--config'))
  t.equal(readers.length, 2)
  for (const { name, env = [] } of readers)
    t.same(env.map((one) => one.name).sort(), [...new Set(variables)].sort(), `${name} has them`)
  // What is in comments passes, too, once it is none.
  const without = (text: string) => text.replaceAll(/^( *)# (- name: tor3| {2}|announce:| {2}- \{)/gm, '$1$2')
  t.equal(parseConfig(without(configText), 'with its examples', NODE_ENVIRONMENT).routing.peers.length, 3)
})

t.test('files: where the configuration looks, something is mounted', async (t) => {
  const isBelow = (path: string, directory: string) => path === directory || path.startsWith(`${directory}/`)
  const mounted = (pod: PodSpec, path: string) =>
    containersOf(pod).every(({ volumeMounts = [] }) =>
      volumeMounts.some(({ mountPath }) => isBelow(path, mountPath)),
    )
  const socket = (config.routing.gobgp ?? '').replace('unix://', '')
  for (const path of [
    config.stateDirectory,
    config.datapath.bpffs,
    config.datapath.cgroup,
    socket,
    '/run/netns',
  ])
    t.ok(mounted(agentPod, path), `the agent has ${path}`)
  t.not(agentPod.automountServiceAccountToken, false, 'and its token')
  const { caFile, tokenFile } = config.kubernetes
  for (const file of [caFile, tokenFile])
    t.match(file, /^\/var\/run\/secrets\/kubernetes\.io\/serviceaccount\//)
  for (const pod of [agentPod, gobgpdPod])
    for (const { name, command = [], volumeMounts = [] } of containersOf(pod)) {
      const file = command[command.indexOf('--config') + 1] ?? ''
      if (!command.includes('--config')) continue
      const mount = volumeMounts.find(({ mountPath }) => isBelow(file, mountPath))
      const { configMap } = pod.volumes?.find((volume) => volume.name === mount?.name) ?? {}
      const data = named('ConfigMap', configMap?.name ?? '')?.['data'] as Record<string, string>
      t.ok(data[file.slice((mount?.mountPath.length ?? 0) + 1)], `${name}: ${file} is a key of its ConfigMap`)
    }
  const [gobgpd] = gobgpdPod.containers
  t.ok(gobgpd?.command?.includes(`--api-hosts=unix://${socket}`), 'gobgpd listens where the agent speaks')
  t.ok(gobgpd?.command?.includes(`${config.stateDirectory}/drain`), "and looks at the agent's drain marker")
  const [boot] = gobgpdPod.initContainers ?? []
  const out = boot?.command?.[boot.command.indexOf('--out') + 1]
  t.equal(
    gobgpd?.command?.[gobgpd.command.indexOf('-f') + 1],
    out,
    'and starts from the file that was made for it',
  )
  const path = (pod: PodSpec) => pod.volumes?.find(({ name }) => name === 'run')?.hostPath?.path
  t.equal(path(agentPod), path(gobgpdPod), 'both have the same directory of the node')
  const probe = agentPod.containers[0]?.livenessProbe?.httpGet
  const port = agentPod.containers[0]?.ports?.find(({ name }) => name === probe?.port)?.containerPort
  t.equal(config.health.address?.port, port, 'health is where it is probed')
})

t.test('commands and their flags exist', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-manifests-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'agent.yaml'), configText)
  const weir = (...args: string[]) =>
    execFileSync(process.execPath, [join(ROOT, 'tools/weir.mjs'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, ...NODE_ENVIRONMENT },
    })
  const [agent] = agentPod.containers
  const [program, noun = '', ...flags] = agent?.command ?? []
  t.equal(program, 'weir')
  const help = weir(noun, '--help')
  for (const flag of flags.filter((one) => one.startsWith('-'))) t.match(help, flag, `weir ${noun} ${flag}`)

  const [boot] = gobgpdPod.initContainers ?? []
  const out = join(directory, 'gobgpd.toml')
  const here = (boot?.command ?? []).map((one) =>
    one === '/etc/weir/agent.yaml'
      ? join(directory, 'agent.yaml')
      : one === '/run/weir/gobgpd.toml'
        ? out
        : one,
  )
  t.equal(here[0], 'weir')
  weir(...here.slice(1))
  t.match(readFileSync(out, 'utf8'), /as = 65101/)

  const [gobgpd] = gobgpdPod.containers
  const [supervisor = '', , daemon = '', ...rest] = gobgpd?.command ?? []
  const file = join(ROOT, supervisor.slice(IMAGE_ROOT.length))
  t.ok(supervisor.startsWith(IMAGE_ROOT) && existsSync(file), supervisor)
  accessSync(file, constants.X_OK)
  t.match(readFileSync(join(ROOT, 'Containerfile'), 'utf8'), /^COPY --from=build \/opt\/weir \/opt\/weir$/m)
  const gobgpdHelp = spawnSync(daemon, ['--help'], { encoding: 'utf8' }).stdout
  for (const flag of rest.filter((one) => one.startsWith('-')))
    t.match(gobgpdHelp, new RegExp(`${flag.split('=')[0]}[,= ]`), `gobgpd ${flag}`)
  const goodbye = /^GOODBYE_SECONDS_MAX=(\d+)/m.exec(readFileSync(file, 'utf8'))?.[1]
  t.ok((gobgpdPod.terminationGracePeriodSeconds ?? 30) > Number(goodbye), 'its goodbye has time')
})

t.test('a new agent ends no session: gobgpd is in a DaemonSet and of an image name of its own', async (t) => {
  t.equal(daemonSets.length, 2)
  const imagesOf = (pod: PodSpec) =>
    new Set(containersOf(pod).map(({ image }) => image.replace(/:[^:]*$/, '')))
  const [ofAgent, ofGobgpd] = [imagesOf(agentPod), imagesOf(gobgpdPod)]
  t.notOk(
    [...ofAgent].some((image) => ofGobgpd.has(image)),
    'kustomize sets tags by names',
  )
  t.notOk(containersOf(agentPod).some(({ command = [] }) => command.includes('gobgpd')))
  t.equal(gobgpdPod.automountServiceAccountToken, false, 'and needs no account')
})
