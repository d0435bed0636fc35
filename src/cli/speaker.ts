// `weir speaker`: what gobgpd needs before the agent speaks to it. Works without an agent, for it runs before one.

import { bootRouting } from '../agent/boot-routing.ts'
import { loadOrLastGood, writeWhole } from '../agent/config-file.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import { renderBootConfig } from '../speaker/boot-config.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'

const USAGE = `Usage: weir speaker boot-config --config FILE [--out FILE]

Writes the file that gobgpd must start from (gobgpd -t toml -f OUT): nothing is imported, and nothing is exported but
this node's own addresses, its pod networks and single addresses of the pools, as the agent's configuration FILE names
them.
Where FILE leaves the AS number to what no agent on this node has heard yet, the file is empty: gobgpd-supervisor.sh
then starts gobgpd without it, and the agent does the rest.

Example: weir speaker boot-config --config agent.yaml --out gobgpd.toml

  --config FILE   the agent's configuration (YAML)
  --out FILE      write there, replacing the file at once; without it, to standard output
`

export const speakerCommand: Command = {
  summary: 'what gobgpd needs to start: its fail-closed boot file',
  run: async (args) => {
    const { values, positionals } = parseOptions('weir speaker', args, {
      config: { type: 'string' },
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    })
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    if (positionals.length !== 1 || positionals[0] !== 'boot-config' || values.config === undefined) {
      process.stderr.write(USAGE)
      return 2
    }
    const text = bootConfigText(values.config)
    if (values.out === undefined) process.stdout.write(text)
    else writeWhole(values.out, text)
    return 0
  },
}

/** Empty where nobody has known the AS number yet: gobgpd then starts without BGP, and the agent starts it. */
function bootConfigText(configFile: string): string {
  const { config } = loadOrLastGood(configFile)
  const { pools } = config
  const routing = bootRouting(config)
  if (routing === undefined) return ''
  const { asn, routerId, loopbacks, podCidrs, serviceNetworks, listen } = routing
  const allowed = allowedPrefixes({ loopbacks, podCidrs, pools, serviceNetworks })
  return renderBootConfig({
    asn,
    routerId,
    ...(listen ? { listen } : {}),
    allowed: {
      ipv4: allowed.filter((row) => row.family === 'ipv4'),
      ipv6: allowed.filter((row) => row.family === 'ipv6'),
    },
  })
}
