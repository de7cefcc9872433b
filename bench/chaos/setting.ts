/**
 * What every actor of the load has: where the gateway is, whether it is up, whom to tell of a violation, what to count.
 */
import type { Setup } from './setup.js'
import type { Kind, Report } from './violations.js'

export type Setting = {
  setup: Setup
  port: number
  /** Resolves when the gateway listens: at once, or after its next start. */
  up: () => Promise<void>
  report: Report
  counts: Counts
}

export type Counts = {
  /** Connections that we cut, and that we lost. */
  cuts: number
  losses: number
  /** Readers that came back with their position. */
  resumes: Record<'sse' | 'poll' | 'json' | 'msgpack', number>
  /** Event objects that readers were given; a merged one stands for many. */
  events: number
  retries: number
  accepted: number
  completed: number
  canceled: number
  failed: number
  kills: number
  drains: number
  /** Answers of the embedded model that are equal to those of an undisturbed gateway, and that are not. */
  equal: number
  unequal: number
}

export const newCounts = (): Counts => ({
  cuts: 0,
  losses: 0,
  resumes: { sse: 0, poll: 0, json: 0, msgpack: 0 },
  events: 0,
  retries: 0,
  accepted: 0,
  completed: 0,
  canceled: 0,
  failed: 0,
  kills: 0,
  drains: 0,
  equal: 0,
  unequal: 0,
})

/** What an error code means to a client that did nothing wrong: null is "ask again". */
export function judge(code: string): Kind | null {
  switch (code) {
    case 'draining':
    case 'loading':
    case 'queue_full':
    case 'too_many_sockets':
      return null
    case 'task_not_found':
    case 'log_gone':
      return 'lost'
    case 'position_ahead':
      return 'ahead'
    case 'idempotency_conflict':
      return 'key'
    default:
      return 'refused'
  }
}
