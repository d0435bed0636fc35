// What Weir tells of itself, read when somebody asks. A new metric is one more entry in a list like these.

import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FlowCounts } from '../../datapath/flow-table.ts'
import type { Sessions } from '../../datapath/live-uplinks.ts'
import type { MapFill } from '../../datapath/map-fill.ts'
import type { ReasonCount } from '../../datapath/maps.ts'
import { verdictOf } from '../../datapath/verdict.ts'
import type { BfdSessionView, BfdView } from '../bfd-view.ts'
import type { Reading, Sample } from './exposition.ts'

export interface DatapathFacts {
  readonly metrics: () => Readonly<Record<string, ReasonCount>>
  readonly fills: () => readonly MapFill[]
  /** Undefined before the first whole sweep. */
  readonly flows: () => FlowCounts | undefined
  readonly sweptFlows: () => number
  readonly uplinks: () => readonly {
    readonly name: string
    readonly isUp: boolean
    /** Where its packets are met; undefined: nowhere. */
    readonly hook: 'xdp' | 'tc' | undefined
  }[]
  /** By how they were lost: programs, links and pins that were put back. */
  readonly restored: () => Readonly<Record<string, number>>
  /** Features of the kernel that something else is done without. */
  readonly features: () => readonly { readonly name: string; readonly isPresent: boolean }[]
  /** Others on the node that touch what we do. */
  readonly neighbours: () => readonly { readonly kind: string }[]
}

export function datapathReadings({
  metrics,
  fills,
  flows,
  sweptFlows,
  uplinks,
  restored,
  features,
  neighbours,
}: DatapathFacts): readonly Reading[] {
  const byReason = (value: (count: ReasonCount) => number): Sample[] =>
    Object.entries(metrics()).flatMap(([reason, count]) => {
      const verdict = verdictOf(reason)
      return verdict === undefined
        ? []
        : [{ labels: { reason: reason.toLowerCase(), verdict }, value: value(count) }]
    })
  const byMap = (value: (fill: MapFill) => number): Sample[] =>
    fills().map((fill) => ({ labels: { map: fill.map }, value: value(fill) }))
  return [
    counter('weir_packets_total', 'Packets by what became of them and why, since the maps were made', () =>
      byReason(({ packets }) => packets),
    ),
    counter('weir_bytes_total', 'Bytes of these packets', () => byReason(({ bytes }) => bytes)),
    counter(
      'weir_events_lost_total',
      'Drop events that found no room in the ring buffer',
      () => metrics()['EVENT_LOST']?.packets ?? 0,
    ),
    gauge('weir_map_entries', 'Entries in use of a kernel table', () => byMap(({ used }) => used)),
    gauge('weir_map_capacity', 'Entries a kernel table has room for', () =>
      byMap(({ capacity }) => capacity),
    ),
    gauge('weir_flows', 'Connections in the flow table by state, as of its last sweep', () =>
      Object.entries(flows()?.byState ?? {}).map(([state, value]) => ({
        labels: { state: state.toLowerCase() },
        value,
      })),
    ),
    counter('weir_flows_swept_total', 'Connections forgotten because their time was over', sweptFlows),
    gauge('weir_uplink_up', 'Whether an uplink has carrier', () =>
      uplinks().map(({ name, isUp }) => ({ labels: { uplink: name }, value: Number(isUp) })),
    ),
    gauge('weir_uplink_attached', 'Whether an uplink carries our program', () =>
      uplinks().map(({ name, hook }) => ({
        labels: { uplink: name, hook: hook ?? 'none' },
        value: Number(hook !== undefined),
      })),
    ),
    counter(
      'weir_restored_total',
      'Programs, links and pins that somebody took away and that were put back',
      () => Object.entries(restored()).map(([how, value]) => ({ labels: { how }, value })),
    ),
    gauge('weir_kernel_feature', 'Whether the kernel has this; weir status tells what is done without', () =>
      features().map(({ name, isPresent }) => ({
        labels: { feature: name.replaceAll(' ', '_') },
        value: Number(isPresent),
      })),
    ),
    gauge('weir_neighbours', 'Others found on the node that touch what we do, by kind', () => {
      const counts = new Map<string, number>()
      for (const { kind } of neighbours()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
      return [...counts].map(([kind, value]) => ({ labels: { kind }, value }))
    }),
  ]
}

export interface ControlFacts {
  readonly sources: () => Readonly<Record<string, { readonly phase: string; readonly rows: number }>>
  readonly sessions: () => Sessions
  readonly bfd: () => readonly BfdView[]
  /** Services the kernel serves, and those among them that something is wrong with. */
  readonly services: () => { readonly served: number; readonly troubled: number }
  /** Sockets that were ended because their backend is gone, by protocol. */
  readonly endedSockets: () => Readonly<Record<string, number>>
  readonly checkPorts: () => { readonly wanted: number; readonly failing: number }
}

/** Of the BFD sessions that are wanted. */
function bfdReadings(views: () => readonly BfdView[]): readonly Reading[] {
  const each = (value: (view: BfdSessionView) => number): Sample[] =>
    views().flatMap((view) =>
      view.state === 'unplaced' || view.peer === undefined
        ? []
        : [{ labels: { peer: view.address, link: view.link }, value: value(view) }],
    )
  return [
    gauge('weir_bfd_session_up', 'Whether the BFD session with this router is up', () =>
      each(({ state }) => Number(state === 'up')),
    ),
    counter('weir_bfd_downs_total', 'How often it went down after it had been up', () =>
      each(({ downs }) => downs),
    ),
    counter('weir_bfd_packets_received_total', 'Valid BFD packets of this router', () =>
      each(({ received }) => received),
    ),
    counter('weir_bfd_packets_answered_total', 'BFD packets sent back to this router', () =>
      each(({ answered }) => answered),
    ),
    counter(
      'weir_bfd_packets_refused_total',
      'BFD packets of this router that were not believed, by why',
      () =>
        views().flatMap((view) =>
          view.state === 'unplaced' || view.peer === undefined
            ? []
            : Object.entries(view.refused).map(([why, value]) => ({
                labels: { peer: view.address, link: view.link, why },
                value,
              })),
        ),
    ),
  ]
}

export function controlReadings({
  sources,
  sessions,
  bfd,
  services,
  endedSockets,
  checkPorts,
}: ControlFacts): readonly Reading[] {
  return [
    gauge('weir_api_watching', 'Whether a watch of this kind is open at an API server', () =>
      Object.entries(sources()).map(([resource, { phase }]) => ({
        labels: { resource },
        value: Number(phase === 'watching'),
      })),
    ),
    gauge('weir_api_objects', 'Objects of this kind that are known and ours to act on', () =>
      Object.entries(sources()).map(([resource, { rows }]) => ({ labels: { resource }, value: rows })),
    ),
    gauge('weir_bgp_session_up', 'Whether the session with this router is established', () =>
      [...sessions()].map(([peer, isUp]) => ({ labels: { peer }, value: Number(isUp) })),
    ),
    ...bfdReadings(bfd),
    gauge('weir_services', 'Services this node serves', () => services().served),
    gauge(
      'weir_services_unserved',
      'Services of which a part is not served: their Events say why',
      () => services().troubled,
    ),
    counter(
      'weir_sockets_ended_total',
      'Sockets ended because the backend they were connected to is gone',
      () => Object.entries(endedSockets()).map(([protocol, value]) => ({ labels: { protocol }, value })),
    ),
    gauge('weir_health_check_ports', 'healthCheckNodePorts of Services', () => checkPorts().wanted),
    gauge(
      'weir_health_check_ports_failing',
      'healthCheckNodePorts that cannot be bound: Events on the Services say why',
      () => checkPorts().failing,
    ),
  ]
}

const DELAY_RESOLUTION_MS = 50
const NANOSECONDS = 1e9

/** @returns readings, and what stops measuring */
export function processReadings(): { readonly readings: readonly Reading[]; readonly close: () => void } {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delay.enable()
  const startedSeconds = Date.now() / 1000 - process.uptime()
  const readings = [
    gauge(
      'weir_event_loop_delay_seconds',
      `How late timers came since the last time this was asked, of one every ${DELAY_RESOLUTION_MS} ms`,
      () => {
        const late = (ns: number) => Math.max(0, ns / NANOSECONDS - DELAY_RESOLUTION_MS / 1000)
        const samples =
          delay.count === 0
            ? []
            : [
                { labels: { quantile: '0.5' }, value: late(delay.percentile(50)) },
                { labels: { quantile: '0.99' }, value: late(delay.percentile(99)) },
                { labels: { quantile: '1' }, value: late(delay.max) },
              ]
        delay.reset()
        return samples
      },
    ),
    gauge('process_resident_memory_bytes', 'Memory, with the parts of maps that are mapped', () =>
      process.memoryUsage.rss(),
    ),
    gauge(
      'weir_process_anonymous_memory_bytes',
      'Memory of the process alone, without mapped files and maps',
      anonymousMemoryBytes,
    ),
    counter('process_cpu_seconds_total', 'Processor time', () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    }),
    gauge('process_start_time_seconds', 'When the agent started', () => startedSeconds),
  ]
  return { readings, close: () => delay.disable() }
}

/** Of this process: what of its memory neither a file nor a map stands behind. */
export function anonymousMemoryBytes(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024
}

export function gauge(name: string, help: string, read: Reading['read']): Reading {
  return { name, help, type: 'gauge', read }
}

export function counter(name: string, help: string, read: Reading['read']): Reading {
  return { name, help, type: 'counter', read }
}
