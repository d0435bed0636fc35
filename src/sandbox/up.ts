// Brings a rack up, or completes one that is half up: each step looks first and does only what is missing.
//
//   fabric: namespaces, cables, addresses
//   ├─ routers (spine first: the ToRs connect to it at once instead of a retry later)
//   ├─ gobgpd on every node, from its fail-closed boot file
//   └─ control: API server and controllers; writes the kubeconfig and the nodes' tokens
//        └─ agents, which need both of the latter
//   sessions: routers among themselves, then routers with nodes, as the routers tell them

import { mkdirSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { AddressPlan } from './address-plan.ts'
import { asBuilder } from './cgroups.ts'
import { controlHost, startControl, stopControl } from './control-process.ts'
import { buildFabric } from './fabric.ts'
import { demand, ensureBpffs } from './host.ts'
import { healLink, linkName, linkStates } from './links.ts'
import { checkRackName } from './names.ts'
import { startAgent, startGobgpd, writeAgentConfig } from './nodes.ts'
import { type PlanOverrides, planDocument, planFromDocument } from './plan-file.ts'
import { type Step, silentSteps, together } from './progress.ts'
import { chooseApiPort, findRack, makeRack, type Rack, saveRack } from './rack.ts'
import { RackError } from './rack-error.ts'
import { type RouterSession, routerNames, routerSessions, startRouter } from './routers.ts'
import { waitUntil } from './wait.ts'

export interface UpOptions {
  readonly name: string
  /** Without one: the plan of the rack as it stands, else the default. */
  readonly plan?: AddressPlan | undefined
  /** What the command line says over a standing or default plan. */
  readonly overrides?: PlanOverrides
  readonly fabricOnly?: boolean | undefined
  readonly step?: Step | undefined
}

/** gobgpd tries again after 5 s and some; a session that needs two tries is still in time. */
const SESSIONS_MS = 60_000

export async function upRack(options: UpOptions): Promise<Rack> {
  if (process.getuid?.() !== 0) {
    throw new RackError(
      'not-root',
      'a rack needs root: it makes network namespaces and loads BPF',
      'run it with sudo -E',
    )
  }
  await checkPrograms()
  const rack = await chooseRack(options)
  return await asBuilder(rack.name, async () => {
    await build(rack, options.step ?? silentSteps)
    return rack
  })
}

/** The recorded rack if it is the one asked for, else a new one. A rack is never rebuilt under its users. */
async function chooseRack(options: UpOptions): Promise<Rack> {
  const name = checkRackName(options.name)
  const found = findRack(name)
  const base = found ? planDocument(found.plan) : {}
  const plan = options.plan ?? planFromDocument(base, 'the command line', options.overrides)
  const fabricOnly = options.fabricOnly ?? false
  if (!found) return makeRack(name, plan, await chooseApiPort(name), fabricOnly)
  if (isDeepStrictEqual(planDocument(found.plan), planDocument(plan))) {
    // A whole rack stays whole; a fabric can be completed.
    return makeRack(name, plan, found.apiPort, fabricOnly && found.fabricOnly)
  }
  throw new RackError(
    'rack-differs',
    `rack '${name}' is up with another plan (${found.plan.nodes.length} nodes, ${found.plan.nodeAsnMode} ASNs)`,
    `use the same options, take it down first ('weir sandbox down --name ${name}'), or choose another --name`,
  )
}

async function build(rack: Rack, step: Step): Promise<void> {
  const { plan } = rack
  saveRack(rack)
  await ensureBpffs()
  let remade: string[] = []
  await step('namespaces, links, addresses', async () => {
    remade = await buildFabric(plan, rack.host, !rack.fabricOnly)
    const healed = await healAll(rack)
    const size = `${plan.nodes.length} nodes, ${plan.links.length} links`
    return healed.length > 0 ? `${size}; healed ${healed.join(', ')}` : size
  })
  const routers = step('routers', () => startRouters(rack))
  if (rack.fabricOnly)
    return await routers.then(() => step('sessions among routers', () => sessions(rack, false)))
  for (const node of plan.nodes) writeAgentConfig(rack, node)
  mkdirSync(controlHost(rack).directory, { recursive: true })
  mkdirSync(controlHost(rack).systemCgroup, { recursive: true })
  await together([
    routers,
    step('gobgpd on every node', async () => {
      await Promise.all(plan.nodes.map((node) => startGobgpd(rack, node)))
      return 'answers on its socket'
    }),
    step('API server and controllers', async () => {
      // It listens inside the nodes' namespaces too: a new namespace needs a new socket.
      if (plan.nodes.some((node) => remade.includes(node.name))) await stopControl(rack)
      await startControl(rack)
      return `https://127.0.0.1:${rack.apiPort}`
    }),
  ])
  await step('agents', async () => {
    await Promise.all(plan.nodes.map((node) => startAgent(rack, node)))
    return 'datapath loaded on every node'
  })
  await step('BGP sessions', () => sessions(rack, true))
}

async function startRouters(rack: Rack): Promise<string> {
  const [spine = '', ...tors] = routerNames(rack.plan)
  await startRouter(rack, spine)
  await Promise.all(tors.map((tor) => startRouter(rack, tor)))
  return 'FRR: spine, tor1; BIRD: tor2'
}

/** Waits until every session is up and carries prefixes: all, or only those between routers. */
async function sessions(rack: Rack, withNodes: boolean): Promise<string> {
  const nodes = new Set(rack.plan.nodes.map((node) => node.name))
  const wanted = async (): Promise<RouterSession[]> => {
    const all = await Promise.all(routerNames(rack.plan).map((name) => routerSessions(rack, name)))
    return all.flat().filter((session) => withNodes || !nodes.has(session.peer))
  }
  let seen: RouterSession[] = []
  // A session without prefixes is up but of no use yet: every peer of the rack announces something.
  const missing = (): RouterSession[] =>
    seen.filter((session) => session.state !== 'Established' || session.prefixesAccepted === 0)
  try {
    await waitUntil('the BGP sessions', SESSIONS_MS, async () => {
      seen = await wanted()
      return seen.length > 0 && missing().length === 0
    })
  } catch (cause) {
    throw new RackError(
      'timeout',
      `after ${SESSIONS_MS / 1000} s not every BGP session is Established and carries prefixes`,
      "see 'weir sandbox logs NODE' and 'weir sandbox exec tor1 -- vtysh -c \"show bgp summary\"'",
      { cause, detail: seen.length === 0 ? ['no router answers'] : missing().map(describeSession) },
    )
  }
  return `${seen.length} of ${seen.length} Established`
}

function describeSession(session: RouterSession): string {
  const { router, peer, address, state, prefixesAccepted } = session
  return `${router} with ${peer} (${address}): ${state}, ${prefixesAccepted} prefixes`
}

/** `up` promises a working rack: faults that somebody left on links are mended, and named. */
async function healAll(rack: Rack): Promise<string[]> {
  const faulty = (await linkStates(rack.plan, rack.host)).filter(({ state }) => state !== 'up')
  for (const { link } of faulty) await healLink(link, rack.host)
  return faulty.map(({ link }) => linkName(link.lower))
}

/** Checks that the programs a rack is made of are there, before anything is built. */
async function checkPrograms(): Promise<void> {
  const programs = ['ip', 'tc', 'ethtool', 'nsenter', 'vtysh', 'bird', 'birdc', 'gobgpd', '/usr/lib/frr/bgpd']
  const look = programs.map((program) => `command -v ${program} >/dev/null || echo ${program}`).join('\n')
  const missing = (await demand({}, ['/bin/sh', '-c', look])).trim().split('\n').filter(Boolean)
  if (missing.length === 0) return
  throw new RackError(
    'command-failed',
    `this machine lacks ${missing.join(', ')}`,
    "run 'npm run sandbox' in the checkout: it installs what is missing",
  )
}
