// A sender of probes on a host of the rack, from the test's side.

import { fileURLToPath } from 'node:url'
import type { Host } from '../../../src/sandbox/host.ts'
import { HostProgram } from '../conformance/probes.ts'

const SENDER = fileURLToPath(new URL('sender.ts', import.meta.url))

export class Sender {
  readonly #program: HostProgram

  constructor(host: Host, port: number, perSecond: number, addresses: readonly string[]) {
    this.#program = new HostProgram(host, [SENDER, String(port), String(perSecond), ...addresses])
  }

  async sent(): Promise<Readonly<Record<'tcp' | 'udp', number>>> {
    return (await this.#program.ask('sent')) as Record<'tcp' | 'udp', number>
  }

  close(): void {
    this.#program.close()
  }
}
