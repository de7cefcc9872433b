/**
 * The tasks of one model that wait: highest priority first, then in order of arrival.
 */
import type { Task } from '../../core/task.js'
import { Line } from './line.js'

const PRIORITIES = 10

export class Queue {
  readonly #lines = Array.from({ length: PRIORITIES }, () => new Line())

  get size(): number {
    return this.ahead(0)
  }

  add(task: Task): void {
    this.#line(task).add(task)
  }

  take(max: number): Task[] {
    const taken: Task[] = []
    for (const line of this.#lines.toReversed()) taken.push(...line.take(max - taken.length))
    return taken
  }

  remove(task: Task): void {
    this.#line(task).remove(task.id)
  }

  /** Tasks that a new one of this priority would wait for. */
  ahead(priority: number): number {
    let count = 0
    for (let higher = priority; higher < PRIORITIES; higher++) count += this.#lines[higher]?.size ?? 0
    return count
  }

  position(task: Task): number | null {
    const inLine = this.#line(task).position(task.id)
    return inLine === null ? null : inLine + this.ahead(task.spec.priority + 1)
  }

  #line(task: Task): Line {
    return this.#lines[task.spec.priority] as Line
  }
}
