// What a container runs. The rack has no images: a command runs as given from the machine's own file system, and the well-known
// test server (agnhost netexec) and pause are built in. Pure.

import type { Container, Pod } from '../../kube/objects.ts'

export interface ContainerProgram {
  argv: string[]
  env: Record<string, string>
}

export interface BuiltIns {
  /** The Node binary and the netexec program. */
  node: string
  netexec: string
}

/** The addresses known when the container starts. */
export interface PodFacts {
  podIps: readonly string[]
  hostIps: readonly string[]
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const PAUSE = ['sleep', 'infinity']
const GRACE_SECONDS = 30

/** Undefined: nothing to run, for the image would have to say it. */
export function programOf(
  pod: Pod,
  container: Container,
  facts: PodFacts,
  builtIns: BuiltIns,
): ContainerProgram | undefined {
  const env = environmentOf(pod, container, facts)
  const expand = (words: readonly string[] | undefined) =>
    (words ?? []).map((word) => expandVariables(word, env))
  const command = expand(container.command)
  const args = expand(container.args)
  const isAgnhost = /(^|\/)agnhost([:@]|$)/.test(container.image ?? '')
  if (command.length > 0 && !/(^|\/)agnhost$/.test(command[0] ?? ''))
    return { argv: [...command, ...args], env }
  const words = [...command.slice(1), ...args]
  if (words[0] === 'netexec' || (words.length === 0 && /(^|\/)netexec([:@]|$)/.test(container.image ?? ''))) {
    // V8's young generation kept small: a rack runs dozens of these.
    return { argv: [builtIns.node, '--max-semi-space-size=1', builtIns.netexec, ...words.slice(1)], env }
  }
  const isPause = /(^|\/)pause([:@]|$)/.test(container.image ?? '')
  if (words[0] === 'pause' || (words.length === 0 && (isPause || isAgnhost))) return { argv: [...PAUSE], env }
  return words.length > 0 && !isAgnhost ? { argv: words, env } : undefined
}

function environmentOf(pod: Pod, container: Container, facts: PodFacts): Record<string, string> {
  const env: Record<string, string> = {
    PATH,
    HOME: '/root',
    HOSTNAME: pod.spec.hostname ?? pod.metadata.name ?? '',
    WEIR_GRACE_SECONDS: String(pod.spec.terminationGracePeriodSeconds ?? GRACE_SECONDS),
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    const field = valueFrom?.fieldRef?.fieldPath
    env[name] = field === undefined ? expandVariables(value ?? '', env) : fieldOf(pod, field, facts)
  }
  return env
}

/** The downward API's fields. */
function fieldOf(pod: Pod, path: string, { podIps, hostIps }: PodFacts): string {
  const { metadata, spec } = pod
  const byKey = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path)
  if (byKey) return metadata[byKey[1] as 'labels' | 'annotations']?.[byKey[2] ?? ''] ?? ''
  const fields: Record<string, string | undefined> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
    'spec.nodeName': spec.nodeName,
    'spec.serviceAccountName': 'default',
    'status.podIP': podIps[0],
    'status.podIPs': podIps.join(','),
    'status.hostIP': hostIps[0],
    'status.hostIPs': hostIps.join(','),
  }
  return fields[path] ?? ''
}

/** `$(NAME)` becomes the variable's value, `$$` a dollar sign; unknown names stay as they are. */
export function expandVariables(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([A-Za-z_][\w.-]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$'
    return Object.hasOwn(env, name) ? (env[name] ?? '') : whole
  })
}
