// The family of figures of policy: what it costs a packet, and what a change of it costs the agent.

import { stayOnOneProcessor } from '../../src/sys/libc/processors.ts'
import type { Effort, Family, Measured } from '../frame/figure.ts'
import { Driver } from '../packet/driver.ts'
import { measurePackets } from './packet.ts'
import { PLOTS } from './packet-figures.ts'

const ABOUT = ``

async function measure(effort: Effort): Promise<Measured> {
  const { release } = stayOnOneProcessor()
  effort.defer(release)
  const driver = new Driver()
  effort.defer(() => driver.close())
  const packets = await measurePackets(effort, driver)
  return { figures: packets.figures, plots: PLOTS, remarks: packets.remarks, versions: {} }
}

export const policyFamily: Family = {
  name: 'policy',
  title: 'Policy: what judging costs, and what changes of it cost',
  about: ABOUT,
  measure,
}
