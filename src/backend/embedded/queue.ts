/**
 * The tasks of one model that wait: highest priority first, then in order of arrival, and nobody for ever.
 *
 * A stream of urgent tasks alone would keep a patient one waiting without end, so every 16th task that is taken is the
 * one that has waited longest, whatever its priority: a task that has k older ones before it starts at the latest
 * after 16 (k + 1) others. Urgent tasks pay for that with a sixteenth of the slots, and only while others wait.
 */
import type { Task } from '../../core/task.js'
import { Line } from './line.js'

const PRIORITIES = 10
const OLDEST_EVERY = 16

export class Queue {
  readonly #lines = Array.from({ length: PRIORITIES }, () => new Line())
  #arrivals = 0
  /** Since the last one that was taken for its age. */
  #taken = 0

  get size(): number {
    return this.ahead(0)
  }

  add(task: Task): void {
    this.#line(task).add(task, this.#arrivals++)
  }

  take(max: number): Task[] {
    const taken: Task[] = []
    while (taken.length < max) {
      const oldest = this.#taken === OLDEST_EVERY - 1
      const line = oldest ? this.#oldest() : this.#highest()
      if (line === undefined) break
      const some = line.take(oldest ? 1 : Math.min(max - taken.length, OLDEST_EVERY - 1 - this.#taken))
      taken.push(...some)
      this.#taken = oldest ? 0 : this.#taken + some.length
    }
    return taken
  }

  remove(task: Task): void {
    this.#line(task).remove(task.id)
  }

  /** Tasks that a new one of this priority would wait for, but for those that their age brings before it. */
  ahead(priority: number): number {
    let count = 0
    for (let higher = priority; higher < PRIORITIES; higher++) count += this.#lines[higher]?.size ?? 0
    return count
  }

  /** As `ahead`, for a task that waits; null for another. */
  position(task: Task): number | null {
    const inLine = this.#line(task).position(task.id)
    return inLine === null ? null : inLine + this.ahead(task.spec.priority + 1)
  }

  #highest(): Line | undefined {
    return this.#lines.findLast(({ size }) => size > 0)
  }

  #oldest(): Line | undefined {
    let oldest: Line | undefined
    for (const line of this.#lines) if (line.oldest < (oldest?.oldest ?? Number.POSITIVE_INFINITY)) oldest = line
    return oldest
  }

  #line(task: Task): Line {
    return this.#lines[task.spec.priority] as Line
  }
}
