// `weir sandbox`: a rack of real routers, nodes and clients on this machine, in network namespaces.

import { readFileSync } from 'node:fs'
import type { ParseArgsOptionsConfig } from 'node:util'
import type { NodeAsnMode } from '../sandbox/address-plan.ts'
import { downRack } from '../sandbox/down.ts'
import { execIn, showLogs } from '../sandbox/exec.ts'
import { blackholeLink, cutLink, findLinks, healLink } from '../sandbox/links.ts'
import { checkRackName, RACK_NAME_DEFAULT } from '../sandbox/names.ts'
import { parsePlan } from '../sandbox/plan-file.ts'
import { printedSteps } from '../sandbox/progress.ts'
import { findRack, loadRack, type Rack } from '../sandbox/rack.ts'
import { RackError } from '../sandbox/rack-error.ts'
import { formatStatus, rackStatus } from '../sandbox/status.ts'
import { upRack } from '../sandbox/up.ts'
import { pageWidth } from './ask-agent.ts'
import type { Command } from './main.ts'
import { didYouMean, parseOptions } from './options.ts'

const USAGE = `Usage: weir sandbox ACTION [OPTIONS]

  up                        bring the rack up, or mend what is missing of it
  down                      remove everything the rack made
  demo                      up, then deploy a sample application and prove that it is served
  status                    address plan, hosts, processes, links, BGP sessions
  exec HOST -- COMMAND      run a command on a host (node1, tor1, spine, client1 …) or pod (namespace/name);
                            vtysh, birdc and gobgp speak to that host's own instance
  kubeconfig                print the path of the kubeconfig
  break LINK|HOST           cut a cable, for example node2:to-tor1, or all of a host's, for example tor1;
                            --blackhole loses frames and keeps the carrier
  heal LINK|HOST            undo it
  logs HOST                 logs of a node, router or 'control' (API server and controllers)

Options:
  --name NAME               which rack (default ${RACK_NAME_DEFAULT}); racks stand side by side
  up, demo:
    --nodes N               number of nodes (default 3)
    --node-asn MODE         per-node or shared (default per-node)
    --plan FILE             address plan: YAML, overrides parts of the default that 'status' shows
    --fabric-only           routers, links and hosts; no API server, agents or gobgpd
  status:  -o json          the same as JSON
  logs:    -f, --follow     go on printing;  -n, --lines N (default 40)

Example: weir sandbox exec tor1 -- vtysh -c 'show bgp summary'
`

const OPTIONS = {
  name: { type: 'string' },
  nodes: { type: 'string' },
  'node-asn': { type: 'string' },
  plan: { type: 'string' },
  'fabric-only': { type: 'boolean' },
  blackhole: { type: 'boolean' },
  output: { type: 'string', short: 'o' },
  follow: { type: 'boolean', short: 'f' },
  lines: { type: 'string', short: 'n' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig

interface Invocation {
  readonly name: string
  readonly operands: readonly string[]
  readonly values: ReturnType<typeof parseOptions<typeof OPTIONS>>['values']
}

const ACTIONS: Readonly<Record<string, { operands: number; options: readonly string[]; run: Action }>> = {
  up: { operands: 0, options: ['nodes', 'node-asn', 'plan', 'fabric-only'], run: up },
  demo: { operands: 0, options: ['nodes', 'node-asn', 'plan'], run: demo },
  down: { operands: 0, options: [], run: down },
  status: { operands: 0, options: ['output'], run: status },
  exec: { operands: -1, options: [], run: exec },
  kubeconfig: { operands: 0, options: [], run: kubeconfig },
  break: { operands: 1, options: ['blackhole'], run: breakLink },
  heal: { operands: 1, options: [], run: heal },
  logs: { operands: 1, options: ['follow', 'lines'], run: logs },
}
type Action = (invocation: Invocation) => Promise<number>

export const sandboxCommand: Command = {
  summary: 'a rack of real routers and nodes on this machine',
  run: async (args) => {
    const [actionName, ...rest] = args
    if (actionName === undefined || actionName === '--help' || actionName === '-h' || actionName === 'help') {
      process.stdout.write(USAGE)
      return actionName === undefined ? 2 : 0
    }
    const action = Object.hasOwn(ACTIONS, actionName) ? ACTIONS[actionName] : undefined
    if (!action) throw unknown('action', actionName, Object.keys(ACTIONS))
    const { values, positionals } = parseOptions('weir sandbox', ownArguments(actionName, rest), OPTIONS)
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    checkInvocation(actionName, action, values, positionals)
    return await action.run({
      name: checkRackName(values.name ?? RACK_NAME_DEFAULT),
      operands: positionals,
      values,
    })
  },
}

/** Everything after exec's host is the command's own, with or without `--`: `exec node1 ping -c 1 10.0.0.1` works. */
function ownArguments(action: string, args: readonly string[]): string[] {
  if (action !== 'exec' || args.includes('--')) return [...args]
  let command = 0
  for (let isHostSeen = false; command < args.length; command++) {
    if (args[command] === '--name') command++
    else if (!args[command]?.startsWith('-')) {
      if (isHostSeen) break
      isHostSeen = true
    }
  }
  return [...args.slice(0, command), '--', ...args.slice(command)]
}

function checkInvocation(
  name: string,
  action: { operands: number; options: readonly string[] },
  values: Invocation['values'],
  positionals: readonly string[],
): void {
  const foreign = Object.keys(values).find((key) => !['name', 'help', ...action.options].includes(key))
  if (foreign) {
    const known = [...action.options, 'name'].map((option) => `--${option}`).join(', ')
    throw new RackError('bad-usage', `'${name}' takes no --${foreign}`, `its options are ${known}`)
  }
  if (action.operands >= 0 && positionals.length !== action.operands) {
    const wanted = action.operands === 0 ? 'nothing' : `${action.operands} name`
    throw new RackError(
      'bad-usage',
      `'${name}' takes ${wanted} after it, and got ${positionals.length === 0 ? 'none' : positionals.join(' ')}`,
      "see 'weir sandbox --help'",
    )
  }
}

async function up(invocation: Invocation): Promise<number> {
  const rack = await bringUp(invocation)
  const flag = rack.name === RACK_NAME_DEFAULT ? '' : ` --name ${rack.name}`
  process.stdout.write(`\nRack ${rack.name} is up.\n`)
  if (!rack.fabricOnly) process.stdout.write(`  export KUBECONFIG=${rack.kubeconfig}\n`)
  process.stdout.write(
    `  npx weir sandbox status${flag}\n  npx weir sandbox exec tor1${flag} -- vtysh -c 'show bgp summary'\n`,
  )
  return 0
}

async function demo(invocation: Invocation): Promise<number> {
  const isAgain = findRack(checkRackName(invocation.name)) !== undefined
  const rack = await bringUp(invocation)
  const { proveRack } = await import('../sandbox/proof.ts')
  return await proveRack(rack, { isAgain })
}

async function bringUp({ name, values }: Invocation): Promise<Rack> {
  const overrides = { nodes: countOf(values.nodes), nodeAsn: asnMode(values['node-asn']) }
  const file = values.plan
  const plan = file === undefined ? undefined : parsePlan(readPlanFile(file), file, overrides)
  process.stdout.write(`Bringing up rack ${name}\n`)
  const step = printedSteps((text) => process.stdout.write(text))
  return await upRack({ name, plan, overrides, fabricOnly: values['fabric-only'], step })
}

async function down({ name }: Invocation): Promise<number> {
  process.stdout.write(`Taking down rack ${name}\n`)
  await downRack(
    name,
    printedSteps((text) => process.stdout.write(text)),
  )
  return 0
}

async function status({ name, values }: Invocation): Promise<number> {
  const { output = 'table' } = values
  if (!['json', 'table', 'text'].includes(output)) throw unknown('output', output, ['json', 'table'])
  const seen = await rackStatus(loadRack(name))
  const text = () => formatStatus(seen, pageWidth(process.stdout))
  process.stdout.write(output === 'json' ? `${JSON.stringify(seen, undefined, 2)}\n` : text())
  return 0
}

async function exec({ name, operands }: Invocation): Promise<number> {
  const [host, ...argv] = operands
  if (host === undefined || argv.length === 0) {
    const example = 'weir sandbox exec node1 -- ip route'
    throw new RackError('bad-usage', "'exec' needs a host and a command", `for example: ${example}`)
  }
  return await execIn(loadRack(name), host, argv)
}

async function kubeconfig({ name }: Invocation): Promise<number> {
  process.stdout.write(`${loadRack(name).kubeconfig}\n`)
  return 0
}

async function breakLink({ name, operands, values }: Invocation): Promise<number> {
  const rack = loadRack(name)
  const links = findLinks(rack.plan, operands[0] ?? '')
  await Promise.all(links.map((link) => (values.blackhole ? blackholeLink : cutLink)(link, rack.host)))
  const what = values.blackhole ? 'now loses every frame, carrier stays' : 'is cut'
  const flag = name === RACK_NAME_DEFAULT ? '' : ` --name ${name}`
  process.stdout.write(`${operands[0]} ${what}. 'npx weir sandbox heal ${operands[0]}${flag}' mends it.\n`)
  return 0
}

async function heal({ name, operands }: Invocation): Promise<number> {
  const rack = loadRack(name)
  const links = findLinks(rack.plan, operands[0] ?? '')
  await Promise.all(links.map((link) => healLink(link, rack.host)))
  process.stdout.write(`${operands[0]} is sound.\n`)
  return 0
}

async function logs({ name, operands, values }: Invocation): Promise<number> {
  return await showLogs(
    loadRack(name),
    operands[0] ?? '',
    countOf(values.lines) ?? 40,
    values.follow ?? false,
  )
}

function readPlanFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new RackError(
      'bad-plan',
      `cannot read the plan file ${file}`,
      'name an existing file with --plan',
      { cause },
    )
  }
}

function countOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new RackError('bad-usage', `'${text}' is not a count`, 'give a whole number from 1 on')
}

function asnMode(text: string | undefined): NodeAsnMode | undefined {
  if (text === undefined || text === 'per-node' || text === 'shared') return text
  throw unknown('--node-asn', text, ['per-node', 'shared'])
}

function unknown(what: string, word: string, known: readonly string[]): RackError {
  return new RackError('bad-usage', `no such ${what} '${word}'`, didYouMean(word, known))
}
