/**
 * How many tokens of a task have come when its last event has this seq.
 *
 * The gateway says `queued` and `started` first, and `progress` at each quarter. Where exactly a quarter is said depends on how tokens
 * came together, so in the midst of a task this may be off by a few for a moment; at its end it is exact.
 */
import type { Others } from './job.js'

/** @param tokens of the whole task @param terminal whether the event is the last one, which is no token */
export function tokensUntil(seq: number, terminal: boolean, tokens: number, { before, among }: Others): number {
  if (terminal) return seq - before - 1 - (tokens > 0 ? among : 0)
  const events = Math.max(0, seq - before)
  let passed = 0
  while (passed < among && Math.ceil(((passed + 1) * tokens) / among) + passed + 1 <= events) passed++
  return events - passed
}
