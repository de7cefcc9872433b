/**
 * How long a task would wait, from the service times that were measured, and what to tell those who come too many.
 *
 * One per model. The estimate is mean service time x tasks ahead / slots; before the first task has ended there is
 * none, and null says so.
 */

// Weight of the newest task in the running mean: about the last ten tasks count.
const WEIGHT = 0.2

export class Admission {
  #meanMs: number | null = null

  /** A task ran for so long, from its start to its end. */
  observe(serviceMs: number): void {
    this.#meanMs = this.#meanMs === null ? serviceMs : this.#meanMs + WEIGHT * (serviceMs - this.#meanMs)
  }

  /** For a task with `ahead` tasks before it, when `free` of `slots` are free. Null when nothing was measured yet. */
  waitMs(ahead: number, slots: number, free: number): number | null {
    const turns = ahead + 1 - free
    if (turns <= 0) return 0
    if (this.#meanMs === null || slots === 0) return null
    return Math.round((turns * this.#meanMs) / slots)
  }

  /** Whole seconds until a place in a full queue should be free: 1 … 60. */
  retryAfterS(slots: number): number {
    const ms = this.#meanMs === null ? 1000 : this.#meanMs / Math.max(1, slots)
    return Math.min(60, Math.max(1, Math.ceil(ms / 1000)))
  }
}
