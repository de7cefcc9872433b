/**
 * Runs that wait for a reader, the one that has waited longest first, and what their requests hold.
 */
import type { Run } from './run.js'

export class Paused {
  /** Unix ms at which each came here. */
  readonly #since = new Map<Run, number>()
  #bytes = 0

  get size(): number {
    return this.#since.size
  }

  /** Of their requests. */
  get bytes(): number {
    return this.#bytes
  }

  /** One that is here already keeps its place. */
  add(run: Run): void {
    if (this.#since.has(run)) return
    this.#since.set(run, Date.now())
    this.#bytes += run.record.task.bytes
  }

  delete(run: Run): void {
    if (this.#since.delete(run)) this.#bytes -= run.record.task.bytes
  }

  all(): Run[] {
    return [...this.#since.keys()]
  }

  /** Those that came before `time`, unix ms. */
  before(time: number): Run[] {
    const runs: Run[] = []
    for (const [run, since] of this.#since) {
      if (since >= time) break
      runs.push(run)
    }
    return runs
  }
}
