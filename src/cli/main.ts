// The command line: finds the noun, loads only that noun's file, and turns its errors into one clear line.

import { weirVersion } from '../agent/version.ts'
import { didYouMean, UsageError } from './options.ts'

export interface Command {
  readonly summary: string
  /** Runs the command with the arguments after the noun; resolves to the exit status. */
  readonly run: (args: readonly string[]) => Promise<number>
}

const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  agent: {
    summary: 'run the node agent',
    load: async () => (await import('./agent.ts')).agentCommand,
  },
  bgp: {
    summary: "this node's routing: sessions, routes, why; changes and their trial; the routers' side",
    load: async () => (await import('./bgp.ts')).bgpCommand,
  },
  drain: {
    summary: 'send the traffic of a node elsewhere, and wait until it has gone',
    load: async () => (await import('./drain.ts')).drainCommand,
  },
  flow: {
    summary: "this node's connections and dropped packets",
    load: async () => (await import('./flow.ts')).flowCommand,
  },
  policy: {
    summary: 'policies: why a connection is allowed or denied, what an audit saw, what a change would do',
    load: async () => (await import('./policy.ts')).policyCommand,
  },
  sandbox: {
    summary: 'a rack of real routers and nodes on this machine',
    load: async () => (await import('./sandbox.ts')).sandboxCommand,
  },
  service: {
    summary: "Services in this node's kernel",
    load: async () => (await import('./service.ts')).serviceCommand,
  },
  speaker: {
    summary: 'what gobgpd needs to start: its fail-closed boot file',
    load: async () => (await import('./speaker.ts')).speakerCommand,
  },
  status: {
    summary: "this node's agent and datapath",
    load: async () => (await import('./status.ts')).statusCommand,
  },
  undrain: {
    summary: 'let a node take its share of traffic again',
    load: async () => (await import('./drain.ts')).undrainCommand,
  },
  uninstall: {
    summary: 'take from this node what the agent made',
    load: async () => (await import('./uninstall.ts')).uninstallCommand,
  },
}

function usage(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const rows = Object.entries(COMMANDS).map(
    ([name, command]) => `  ${name.padEnd(width)}  ${command.summary}`,
  )
  return `Usage: weir COMMAND [ARGUMENTS]\n\n${rows.join('\n')}\n\n'weir COMMAND --help' tells more.\n`
}

/** Entry point of the `weir` command. Returns the exit status; never throws. */
export async function main(args: readonly string[]): Promise<number> {
  const [noun, ...rest] = args
  if (noun === '--version' || noun === '-V' || noun === 'version') {
    process.stdout.write(`weir ${weirVersion()} on Node ${process.version}\n`)
    return 0
  }
  if (noun === undefined || noun === '--help' || noun === '-h' || noun === 'help') {
    process.stdout.write(usage())
    return noun === undefined ? 2 : 0
  }
  const entry = Object.hasOwn(COMMANDS, noun) ? COMMANDS[noun] : undefined
  if (!entry) {
    const mend = didYouMean(noun, Object.keys(COMMANDS))
    process.stderr.write(`weir: no such command '${noun}'. Mend: ${mend}; 'weir --help' tells more.\n`)
    return 2
  }
  try {
    const command = await entry.load()
    return await command.run(rest)
  } catch (error) {
    process.stderr.write(`weir ${noun}: ${describeError(error)}\n`)
    return error instanceof UsageError ? 2 : 1
  }
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (process.env['WEIR_DEBUG']) return error.stack ?? error.message
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
  return `${error.message}${cause}`
}
