/**
 * What happens to connections and to the gateway, as functions of the seed and of whom it happens to: nothing here
 * looks at a clock or at what was before. So the seed repeats a run as far as the gateway's own timing lets it: the
 * 3rd connection of a reader is cut after the same bytes, however late it came.
 */
import { Random } from '../../test/server/random.js'
import type { ReaderPlan } from './plan.js'
import type { Setup } from './setup.js'

/** One connection of one reader over HTTP. */
export type VisitPlan = {
  cut: { after: 'events' | 'bytes' | 'ms'; count: number } | null
  /** After every chunk. */
  pauseMs: number
  /** Once, after so many bytes. */
  stall: { afterBytes: number; ms: number } | null
  /** Until it comes back. */
  awayMs: number
  position: 'header' | 'after' | 'last_event_id' | 'both'
  page: { limit: number; waitS: number }
}

/** One WebSocket, with its many tasks. */
export type ConnectionPlan = {
  cutAfterMs: number
  cut: 'terminate' | 'close'
  stalls: { afterMs: number; ms: number }[]
  awayMs: number
}

/** One try of a submit: cut by us before its answer, or sent twice at once. */
export type AttemptPlan = { cutAfterMs: number | null; twice: boolean; awayMs: number }

/** The life of one gateway process and its end. */
export type StopPlan = {
  type: 'kill' | 'drain'
  /** `soon`: from its start, ready or not; else from when it was ready. */
  soon: boolean
  afterMs: number
  drainMs: number
}

/** Of stops that come when the gateway is ready: below such a number of the dice, so long after, in paces. The mean is about 1. */
const AFTER_READY = [
  [0.35, 0.1, 0.5],
  [0.85, 0.5, 1.5],
  [1, 1.5, 3.5],
] as const
/** Starting takes some 400 ms. */
const SOON_MS = [10, 700] as const
const SOON_SHARE = 0.25
const DRAIN_SHARE = 0.2

export function planStop({ seed, paceMs }: Setup, stop: number): StopPlan {
  const random = Random.for(seed, `stop ${stop}`)
  const type = random.chance(DRAIN_SHARE) ? 'drain' : 'kill'
  const drainMs = random.between(0, Math.min(1000, paceMs))
  // Before the gateway has its signal handlers, SIGTERM is a kill by another name.
  if (random.chance(SOON_SHARE) && type === 'kill')
    return { type, soon: true, afterMs: random.between(...SOON_MS), drainMs }
  const dice = random.next()
  const [, from, to] = AFTER_READY.find(([upTo]) => dice < upTo) ?? AFTER_READY[0]
  const afterMs = Math.round((from + (to - from) * random.next()) * paceMs)
  return { type, soon: false, afterMs, drainMs }
}

export function planVisit({ seed }: Setup, { name, temper }: ReaderPlan, visit: number): VisitPlan {
  const random = Random.for(seed, `${name} visit ${visit}`)
  const after = random.pick(['events', 'bytes', 'ms'] as const)
  const cut = { after, count: random.between(1, { events: 30, bytes: 6000, ms: 1500 }[after]) }
  const cuts = { steady: 0, restless: 0.9, slow: 0.3, stalled: 0.3 }[temper]
  const stall = { afterBytes: random.between(0, 3000), ms: random.between(500, 5000) }
  return {
    cut: random.chance(cuts) ? cut : null,
    pauseMs: temper === 'slow' ? random.between(20, 250) : 0,
    stall: temper === 'stalled' && random.chance(0.7) ? stall : null,
    awayMs: random.chance(0.5) ? random.between(0, 20) : random.between(20, 600),
    position: random.pick(['header', 'after', 'last_event_id', 'both']),
    page: { limit: random.pick([1, 10, 100, 1000]), waitS: random.pick([0.2, 2, 20]) },
  }
}

export function planConnection({ seed }: Setup, line: string, connection: number): ConnectionPlan {
  const random = Random.for(seed, `${line} connection ${connection}`)
  const cutAfterMs = random.chance(0.3) ? random.between(0, 600) : random.between(600, 8000)
  return {
    cutAfterMs,
    cut: random.pick(['terminate', 'terminate', 'close']),
    stalls: Array.from({ length: random.between(0, 2) }, () => ({
      afterMs: random.between(0, cutAfterMs),
      ms: random.chance(0.7) ? random.between(20, 400) : random.between(400, 4000),
    })),
    awayMs: random.between(0, 300),
  }
}

export function planAttempt({ seed }: Setup, task: number, attempt: number): AttemptPlan {
  const random = Random.for(seed, `task ${task} attempt ${attempt}`)
  return {
    cutAfterMs: random.chance(0.2) ? random.between(0, 15) : null,
    twice: random.chance(0.1),
    awayMs: random.between(20, 200),
  }
}
