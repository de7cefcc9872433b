/**
 * Which files of the journal are still needed, and for whom.
 *
 * A task that has not ended needs all files from the one that has the oldest of its words that are nowhere else. So
 * the oldest file can go when no task needs it, and only then the next.
 */
import type { TaskId } from '../../core/id.js'

export class Tail {
  /** The tasks that each file, and no older one, is needed for. */
  readonly #tasks = new Map<number, Set<TaskId>>()
  readonly #fileOf = new Map<TaskId, number>()
  /** The oldest file that there is. */
  #oldest: number

  constructor(oldest: number) {
    this.#oldest = oldest
  }

  /** Of a task that is here already, older words count. */
  enter(id: TaskId, file: number): void {
    if (this.#fileOf.has(id)) return
    this.#fileOf.set(id, file)
    const tasks = this.#tasks.get(file) ?? new Set()
    this.#tasks.set(file, tasks)
    tasks.add(id)
  }

  leave(id: TaskId): void {
    const file = this.#fileOf.get(id)
    if (file === undefined) return
    this.#fileOf.delete(id)
    const tasks = this.#tasks.get(file)
    tasks?.delete(id)
    if (tasks?.size === 0) this.#tasks.delete(file)
  }

  /** What was said before `file` is kept elsewhere by now. */
  move(id: TaskId, file: number): void {
    if (!this.#fileOf.has(id)) return
    this.leave(id)
    this.enter(id, file)
  }

  /** Files that nobody needs any more; `current` is the one that is written. They are not asked for again. */
  takeUnneeded(current: number): number[] {
    // Newer files than the oldest that is needed may have later words of its tasks.
    const needed = Math.min(current, ...this.#tasks.keys())
    const unneeded = Array.from({ length: Math.max(0, needed - this.#oldest) }, (_, index) => this.#oldest + index)
    this.#oldest = Math.max(this.#oldest, needed)
    return unneeded
  }

  /** The tasks for which files older than `file` are needed. */
  before(file: number): TaskId[] {
    return [...this.#tasks].flatMap(([number, tasks]) => (number < file ? [...tasks] : []))
  }
}
