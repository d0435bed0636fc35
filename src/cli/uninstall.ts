// `weir uninstall`: takes from this node what the agent made, and puts back what it changed. Local; needs no agent and no API server.

import { loadConfig } from '../agent/config.ts'
import { uninstall } from '../agent/uninstall.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'

const USAGE = `Usage: weir uninstall --config FILE [--dry-run]

Removes what the agent with this configuration left in the kernel of this node, and says what: announcements of
Services, programs, links, maps and their pins, the masquerade table, its state files; kernel settings get their
former values.
Refuses while the agent runs. What others attached, pinned or set since is left alone, and gobgpd goes on.

  --config FILE   the agent's configuration (YAML)
  --dry-run       only say what would be removed; the agent may run
`

export const uninstallCommand: Command = {
  summary: 'take from this node what the agent made',
  run: async (args) => {
    const { values, positionals } = parseOptions('weir uninstall', args, {
      config: { type: 'string' },
      'dry-run': { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    })
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    if (values.config === undefined || positionals.length > 0) {
      process.stderr.write(USAGE)
      return 2
    }
    const isDryRun = values['dry-run'] ?? false
    const lines = await uninstall(loadConfig(values.config), isDryRun)
    const heading =
      lines.length === 0
        ? 'Nothing of Weir is left on this node.'
        : isDryRun
          ? 'Would remove or put back:'
          : 'Removed or put back:'
    process.stdout.write([heading, ...lines.map((line) => `  ${line}`), ''].join('\n'))
    return 0
  },
}
