// A rack as others see it: its name, address plan, hosts and API server, recorded in one state file.
// The file holds only what cannot be read back from the kernel or from pid files; `down` works without it.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { nearMatches } from '../model/near-matches.ts'
import { type AddressPlan, hostNames, type NodePlan } from './address-plan.ts'
import { type Host, hostOf, listNamespaces } from './host.ts'
import { kubeconfigFile, ownsNamespace, RACK_NAME_DEFAULT, rackDirectory, stateFile } from './names.ts'
import { planDocument, planFromDocument } from './plan-file.ts'
import { RackError } from './rack-error.ts'

export interface Rack {
  readonly name: string
  readonly plan: AddressPlan
  readonly directory: string
  /** The API server listens on this port of 127.0.0.1, in the machine's namespace and in every node's. */
  readonly apiPort: number
  readonly kubeconfig: string
  /** Routers, links and hosts only: no API server, agents or gobgpd. */
  readonly fabricOnly: boolean
  readonly host: (name: string) => Host
  readonly node: (name: string) => NodePlan
}

const API_PORT_DEFAULT = 16443

export function makeRack(name: string, plan: AddressPlan, apiPort: number, fabricOnly: boolean): Rack {
  return {
    name,
    plan,
    apiPort,
    fabricOnly,
    directory: rackDirectory(name),
    kubeconfig: kubeconfigFile(name),
    host: (host) => knownHost(name, plan, host),
    node: (node) => {
      const found = plan.nodes.find((one) => one.name === node)
      if (found) return found
      throw unknownHost(
        name,
        node,
        plan.nodes.map((one) => one.name),
      )
    },
  }
}

/** The rack from its state file; undefined when it was never up, or is down. */
export function findRack(name: string): Rack | undefined {
  if (!existsSync(stateFile(name))) return undefined
  const state = JSON.parse(readFileSync(stateFile(name), 'utf8')) as {
    plan: unknown
    apiPort: number
    fabricOnly: boolean
  }
  return makeRack(name, planFromDocument(state.plan, stateFile(name)), state.apiPort, state.fabricOnly)
}

/** The rack, which must be up. */
export function loadRack(name: string): Rack {
  const rack = findRack(name)
  if (rack) return rack
  const others = rackNames().filter((other) => other !== name)
  const mend = others.length > 0 ? `; racks that are up: ${others.join(', ')}` : ''
  throw new RackError(
    'not-up',
    `rack '${name}' is not up (no ${stateFile(name)})`,
    `run 'weir sandbox up${name === 'weir' ? '' : ` --name ${name}`}'${mend}`,
  )
}

/** Written beside and renamed: a reader sees the old state or the new one. */
export function saveRack(rack: Rack): void {
  mkdirSync(rack.directory, { recursive: true })
  const state = { plan: planDocument(rack.plan), apiPort: rack.apiPort, fabricOnly: rack.fabricOnly }
  const part = `${stateFile(rack.name)}.part`
  writeFileSync(part, `${JSON.stringify(state, undefined, 2)}\n`)
  renameSync(part, stateFile(rack.name))
}

/** Racks with a state file, by name. */
function rackNames(): string[] {
  const names = listNamespaces().map((namespace) => namespace.split('-')[0] ?? '')
  return [...new Set(names)].filter((name) => existsSync(stateFile(name)))
}

/** Namespaces of the machine that this rack made, its pods' included. */
export function rackNamespaces(name: string): string[] {
  return listNamespaces().filter((namespace) => ownsNamespace(name, namespace))
}

/** The usual port for the usual rack if nobody listens there, else one that the kernel finds free. */
export async function chooseApiPort(name: string): Promise<number> {
  const usual = name === RACK_NAME_DEFAULT ? await tryListen(API_PORT_DEFAULT) : undefined
  return usual ?? (await tryListen(0)) ?? API_PORT_DEFAULT
}

function tryListen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : undefined))
    })
  })
}

function knownHost(rack: string, plan: AddressPlan, name: string): Host {
  const names = hostNames(plan)
  if (!names.includes(name)) throw unknownHost(rack, name, names)
  return hostOf(rack, name)
}

function unknownHost(rack: string, name: string, names: readonly string[]): RackError {
  const near = nearMatches(name, names)
  return new RackError(
    'unknown-host',
    `rack '${rack}' has no host '${name}'`,
    near.length > 0 ? `did you mean ${near.join(' or ')}` : `one of ${names.join(', ')}`,
  )
}
