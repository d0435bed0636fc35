// Why a pod, or a workload's pod template, is refused.

import type { FieldError, KubeObject } from '../kind.ts'
import {
  duplicate,
  forbidden,
  invalid,
  isSame,
  label1123Errors,
  labelsErrors,
  nonNegativeErrors,
  portErrors,
  portNameErrors,
  portOrNameErrors,
  qualifiedNameErrors,
  required,
  subdomainErrors,
} from './field-errors.ts'
import type { Container, PodSpec, PodTemplate } from './pod-spec.ts'

export function podSpecErrors(spec: PodSpec | undefined, at: string): FieldError[] {
  if (spec === undefined) return [required(at)]
  const containers = spec.containers ?? []
  const volumes = new Set((spec.volumes ?? []).map((volume) => volume.name))
  const names = new Set<string>()
  const lists = [
    { field: 'containers', list: containers },
    { field: 'initContainers', list: spec.initContainers ?? [] },
  ]
  const errors: FieldError[] = containers.length === 0 ? [required(`${at}.containers`)] : []
  for (const { field, list } of lists)
    for (const [index, container] of list.entries())
      errors.push(...containerErrors(container, `${at}.${field}[${index}]`, names, volumes))
  return [
    ...errors,
    ...volumeErrors(spec, at),
    ...hostPortErrors(containers, at),
    ...tolerationErrors(spec, at),
    ...labelsErrors(`${at}.nodeSelector`, spec.nodeSelector),
    ...nonNegativeErrors(`${at}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds),
    ...(spec.nodeName ? subdomainErrors(`${at}.nodeName`, spec.nodeName) : []),
    ...(spec.serviceAccountName ? subdomainErrors(`${at}.serviceAccountName`, spec.serviceAccountName) : []),
    ...(spec.hostname ? label1123Errors(`${at}.hostname`, spec.hostname) : []),
    ...(spec.subdomain ? label1123Errors(`${at}.subdomain`, spec.subdomain) : []),
  ]
}

function containerErrors(
  container: Container,
  at: string,
  names: Set<string>,
  volumes: Set<string>,
): FieldError[] {
  const errors: FieldError[] = []
  if (container.name === '' || container.name === undefined) errors.push(required(`${at}.name`))
  else {
    errors.push(...label1123Errors(`${at}.name`, container.name))
    if (names.has(container.name)) errors.push(duplicate(`${at}.name`, container.name))
    names.add(container.name)
  }
  if (!container.image) errors.push(required(`${at}.image`))
  return [
    ...errors,
    ...containerPortErrors(container, at),
    ...environmentErrors(container, at),
    ...mountErrors(container, at, volumes),
    ...probeErrors(container, at),
    ...resourceErrors(container, at),
  ]
}

function containerPortErrors(container: Container, at: string): FieldError[] {
  const names = new Set<string>()
  return (container.ports ?? []).flatMap((port, index) => {
    const field = `${at}.ports[${index}]`
    const errors =
      port.containerPort === 0
        ? [required(`${field}.containerPort`)]
        : portErrors(`${field}.containerPort`, port.containerPort)
    if (port.hostPort) errors.push(...portErrors(`${field}.hostPort`, port.hostPort))
    if (!port.name) return errors
    errors.push(...portNameErrors(`${field}.name`, port.name))
    if (names.has(port.name)) errors.push(duplicate(`${field}.name`, port.name))
    names.add(port.name)
    return errors
  })
}

function hostPortErrors(containers: readonly Container[], at: string): FieldError[] {
  const used = new Set<string>()
  const errors: FieldError[] = []
  for (const [index, container] of containers.entries())
    for (const [position, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue
      const key = `${port.protocol ?? 'TCP'}/${String(port['hostIP' as keyof typeof port] ?? '')}/${port.hostPort}`
      if (used.has(key)) errors.push(duplicate(`${at}.containers[${index}].ports[${position}].hostPort`, key))
      used.add(key)
    }
  return errors
}

function environmentErrors(container: Container, at: string): FieldError[] {
  return (container.env ?? []).flatMap((variable, index) => {
    const field = `${at}.env[${index}]`
    if (!variable.name) return [required(`${field}.name`)]
    if (/[=\0]/.test(variable.name))
      return [
        invalid(`${field}.name`, variable.name, "a valid environment variable name must not contain '='"),
      ]
    return variable.value && variable.valueFrom !== undefined
      ? [invalid(`${field}.valueFrom`, '', 'may not be specified when `value` is not empty')]
      : []
  })
}

function mountErrors(container: Container, at: string, volumes: Set<string>): FieldError[] {
  const paths = new Set<string>()
  return (container.volumeMounts ?? []).flatMap((mount, index) => {
    const field = `${at}.volumeMounts[${index}]`
    const errors: FieldError[] = []
    if (!volumes.has(mount.name))
      errors.push({
        field: `${field}.name`,
        reason: 'FieldValueInvalid',
        message: `Not found: ${JSON.stringify(mount.name)}`,
      })
    if (!mount.mountPath) errors.push(required(`${field}.mountPath`))
    else if (paths.has(mount.mountPath))
      errors.push(invalid(`${field}.mountPath`, mount.mountPath, 'must be unique'))
    paths.add(mount.mountPath)
    return errors
  })
}

function probeErrors(container: Container, at: string): FieldError[] {
  const errors: FieldError[] = []
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = container[name]
    if (probe === undefined) continue
    const handlers = [probe.exec, probe.httpGet, probe.tcpSocket, probe.grpc].filter(
      (handler) => handler !== undefined,
    )
    if (handlers.length === 0) errors.push(required(`${at}.${name}`, 'must specify a handler type'))
    if (handlers.length > 1)
      errors.push(forbidden(`${at}.${name}`, 'may not specify more than 1 handler type'))
    if (probe.httpGet !== undefined)
      errors.push(...portOrNameErrors(`${at}.${name}.httpGet.port`, probe.httpGet.port))
    if (probe.tcpSocket !== undefined)
      errors.push(...portOrNameErrors(`${at}.${name}.tcpSocket.port`, probe.tcpSocket.port))
    if (name !== 'readinessProbe' && (probe.successThreshold ?? 1) !== 1)
      errors.push(invalid(`${at}.${name}.successThreshold`, probe.successThreshold, 'must be 1'))
    for (const field of ['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds', 'failureThreshold'])
      errors.push(...nonNegativeErrors(`${at}.${name}.${field}`, probe[field] as number | undefined))
  }
  return errors
}

const quantitySuffixes: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

function quantityValue(quantity: string | number): number {
  const match = /^([+-]?[\d.]+)([a-zA-Z]*)$/.exec(String(quantity))
  const scale = quantitySuffixes[match?.[2] ?? '']
  return match === null || scale === undefined ? Number(quantity) : Number(match[1]) * scale
}

function resourceErrors(container: Container, at: string): FieldError[] {
  const { requests, limits } = container.resources ?? {}
  const errors: FieldError[] = []
  for (const [name, amount] of Object.entries(requests ?? {})) {
    const limit = limits?.[name]
    if (quantityValue(amount) < 0)
      errors.push(invalid(`${at}.resources.requests[${name}]`, amount, 'must be greater than or equal to 0'))
    if (limit !== undefined && quantityValue(amount) > quantityValue(limit))
      errors.push(
        invalid(
          `${at}.resources.requests`,
          amount,
          `must be less than or equal to ${name} limit of ${limit}`,
        ),
      )
  }
  return errors
}

function volumeErrors(spec: PodSpec, at: string): FieldError[] {
  const names = new Set<string>()
  return (spec.volumes ?? []).flatMap((volume, index) => {
    const field = `${at}.volumes[${index}]`
    if (!volume.name) return [required(`${field}.name`)]
    const errors = label1123Errors(`${field}.name`, volume.name)
    if (names.has(volume.name)) errors.push(duplicate(`${field}.name`, volume.name))
    names.add(volume.name)
    const [, ...more] = Object.keys(volume).filter((key) => key !== 'name')
    for (const source of more)
      errors.push(forbidden(`${field}.${source}`, 'may not specify more than 1 volume type'))
    return errors
  })
}

function tolerationErrors(spec: PodSpec, at: string): FieldError[] {
  return (spec.tolerations ?? []).flatMap((toleration, index) => {
    const field = `${at}.tolerations[${index}]`
    const errors = toleration.key ? qualifiedNameErrors(`${field}.key`, toleration.key) : []
    if (!toleration.key && toleration.operator !== 'Exists')
      errors.push(
        invalid(
          `${field}.operator`,
          toleration.operator ?? '',
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      )
    if (toleration.operator === 'Exists' && toleration.value)
      errors.push(invalid(`${field}.operator`, toleration, "value must be empty when `operator` is 'Exists'"))
    if (toleration.tolerationSeconds !== undefined && toleration.effect !== 'NoExecute')
      errors.push(
        invalid(
          `${field}.effect`,
          toleration.effect ?? '',
          "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
      )
    return errors
  })
}

const immutableWhy =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,' +
  '`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),' +
  '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

/** The spec without what may change after creation. */
function fixedPart(spec: PodSpec): object {
  const {
    activeDeadlineSeconds: _,
    tolerations: __,
    ephemeralContainers: ___,
    schedulingGates: ____,
    ...rest
  } = spec
  const withoutImage = (list: readonly Container[] | undefined): object[] =>
    (list ?? []).map(({ image: _____, resources: ______, ...container }) => container)
  return {
    ...rest,
    containers: withoutImage(spec.containers),
    initContainers: withoutImage(spec.initContainers),
  }
}

export function podUpdateErrors(object: KubeObject, previous: KubeObject): FieldError[] {
  const spec = (object['spec'] ?? {}) as PodSpec
  const before = (previous['spec'] ?? {}) as PodSpec
  const errors: FieldError[] = []
  for (const toleration of before.tolerations ?? [])
    if (
      !(spec.tolerations ?? []).some((other) =>
        isSame({ ...other, tolerationSeconds: 0 }, { ...toleration, tolerationSeconds: 0 }),
      )
    ) {
      errors.push(
        forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'),
      )
      break
    }
  // A scheduler binds a pod once; that write comes through the same validation.
  const isBound = !before.nodeName && spec.nodeName
  const compared = isBound ? { ...before, nodeName: spec.nodeName } : before
  if ((spec.containers ?? []).length !== (before.containers ?? []).length)
    errors.push(forbidden('spec.containers', 'pod updates may not add or remove containers'))
  else if (!isSame(fixedPart(spec), fixedPart(compared as PodSpec)))
    errors.push(forbidden('spec', immutableWhy))
  return errors
}

export function templateErrors(
  template: PodTemplate | undefined,
  at: string,
  restartPolicies: readonly string[],
): FieldError[] {
  const spec = template?.spec
  const errors = [
    ...labelsErrors(`${at}.metadata.labels`, template?.metadata?.labels),
    ...podSpecErrors(spec, `${at}.spec`),
  ]
  if (spec?.restartPolicy !== undefined && !restartPolicies.includes(spec.restartPolicy))
    errors.push({
      field: `${at}.spec.restartPolicy`,
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(spec.restartPolicy)}: supported values: ${restartPolicies.map((policy) => JSON.stringify(policy)).join(', ')}`,
    })
  return errors
}
