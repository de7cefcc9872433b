/**
 * Runs that wait for a slot, in order of their turns.
 *
 * Suspects go first. They hold up the others, but not for long, and would be no better off behind them: whoever kills
 * its thread after some tokens would take it from them over and over, before they can prove themselves.
 */
import { isSuspect, type Run } from './run.js'

export class Line {
  readonly #suspects = new Set<Run>()
  readonly #others = new Set<Run>()

  get size(): number {
    return this.#suspects.size + this.#others.size
  }

  /** One that is here already keeps its place. */
  add(run: Run): void {
    if (isSuspect(run)) this.#suspects.add(run)
    else this.#others.add(run)
  }

  delete(run: Run): void {
    this.#suspects.delete(run)
    this.#others.delete(run)
  }

  /** The next one first; they may leave meanwhile. */
  *[Symbol.iterator](): Generator<Run> {
    yield* this.#suspects
    yield* this.#others
  }
}
