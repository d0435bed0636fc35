// Durations as kubectl prints them: the two largest units that matter, fewer digits the older a thing is.

import type { KubeObject } from '../kind.ts'

const minuteSeconds = 60
const hourSeconds = 3600
const dayHours = 24
const yearDays = 365

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`
}

export function humanDuration(durationMs: number): string {
  const seconds = Math.trunc(durationMs / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 0) return '0s'
  if (seconds < 2 * minuteSeconds) return `${seconds}s`
  const minutes = Math.trunc(seconds / minuteSeconds)
  if (minutes < 10) return pair(minutes, 'm', seconds % minuteSeconds, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.trunc(seconds / hourSeconds)
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm')
  if (hours < 2 * dayHours) return `${hours}h`
  const days = Math.trunc(hours / dayHours)
  if (days < 8) return pair(days, 'd', hours % dayHours, 'h')
  if (days < 2 * yearDays) return `${days}d`
  const years = Math.trunc(days / yearDays)
  return years < 8 ? pair(years, 'y', days % yearDays, 'd') : `${years}y`
}

/** Time since an RFC 3339 timestamp. */
export function timeSince(timestamp: unknown, nowMs: number): string {
  const then = typeof timestamp === 'string' ? Date.parse(timestamp) : Number.NaN
  return Number.isNaN(then) ? '<unknown>' : humanDuration(nowMs - then)
}

export function ageOf(object: KubeObject, nowMs: number): string {
  return timeSince(object.metadata.creationTimestamp, nowMs)
}
