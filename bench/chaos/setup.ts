/**
 * What every decision of a run depends on, beside whom it is for.
 */
import type { Options } from './options.js'

export type Setup = {
  seed: number
  readers: number
  model: 'scripted' | 'default'
  /** Mean time from ready to the next stop; tasks live as long as a few of these. */
  paceMs: number
}

/** Of the time, planned for lives of the gateway; the rest is for the tasks to end, and for starts that take long. */
const PLANNED_SHARE = 0.72
const START_MS = 500
/** Some stops are no kills. */
const KILLS_PER_STOP = 0.8
const PACE = { min: 100, max: 6000, withoutKills: 4000 } as const

export function setupOf({ seed, readers, model, kills, minutes }: Options): Setup {
  const perStopMs = (minutes * 60_000 * PLANNED_SHARE * KILLS_PER_STOP) / Math.max(1, kills) - START_MS
  const paceMs = kills === 0 ? PACE.withoutKills : Math.round(Math.min(PACE.max, Math.max(PACE.min, perStopMs)))
  return { seed, readers, model, paceMs }
}

/**
 * How long a task takes that nobody holds up, at most, and how late something happens to it: a few lives of the gateway.
 * The embedded model says what it says in less.
 */
export const spanOf = ({ model, paceMs }: Setup): number =>
  model === 'default' ? 1500 : Math.min(8000, Math.max(1500, Math.round(2 * paceMs)))
