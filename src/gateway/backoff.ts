/**
 * Runs that wait before their next attempt: what has just failed would fail again right away.
 *
 * The wait doubles with every attempt in a row that brought no token, up to a bound. Up to half of it is left to chance, so that what
 * failed together does not come back together.
 */
import type { Run } from './run.js'

const WAIT_MS = { first: 100, max: 5000 }

export class Backoff {
  readonly #timers = new Map<Run, NodeJS.Timeout>()
  readonly #over: (run: Run) => void

  /** @param over a run has waited long enough, and is not here any more */
  constructor(over: (run: Run) => void) {
    this.#over = over
  }

  has(run: Run): boolean {
    return this.#timers.has(run)
  }

  /** @param failures such attempts, 1 … */
  add(run: Run, failures: number): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(run)
        this.#over(run)
      },
      waitMs(failures, Math.random()),
    )
    this.#timers.set(run, timer)
  }

  delete(run: Run): void {
    clearTimeout(this.#timers.get(run))
    this.#timers.delete(run)
  }

  /** Nobody waits any more, and none is told. */
  clear(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}

/** @param chance 0 … 1 */
export const waitMs = (failures: number, chance: number): number =>
  Math.min(WAIT_MS.max, WAIT_MS.first * 2 ** (failures - 1)) * (1 - chance / 2)
