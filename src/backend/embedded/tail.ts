/**
 * Which files of the journal are still needed, and for whom.
 *
 * A task that has not ended needs all files from the one that has the oldest of its words that are nowhere else. So
 * the oldest file can go when no task needs it, and only then the next.
 */
import type { TaskId } from '../../core/id.js'

export class Tail {
  /** The tasks that each file, and no older one, is needed for; in order. */
  readonly #files = new Map<number, Set<TaskId>>()
  readonly #fileOf = new Map<TaskId, number>()

  /** Files come in ascending order. */
  addFile(file: number): void {
    if (!this.#files.has(file)) this.#files.set(file, new Set())
  }

  /** Of a task that is here already, older words count. */
  enter(id: TaskId, file: number): void {
    if (this.#fileOf.has(id)) return
    this.addFile(file)
    this.#fileOf.set(id, file)
    this.#files.get(file)?.add(id)
  }

  leave(id: TaskId): void {
    const file = this.#fileOf.get(id)
    if (file === undefined) return
    this.#fileOf.delete(id)
    this.#files.get(file)?.delete(id)
  }

  /** What was said before `file` is kept elsewhere by now. */
  move(id: TaskId, file: number): void {
    if (!this.#fileOf.has(id)) return
    this.leave(id)
    this.enter(id, file)
  }

  /** Files before `current` that nobody needs, which are not needed from now on. */
  takeUnneeded(current: number): number[] {
    const unneeded: number[] = []
    for (const [file, tasks] of this.#files) {
      // Newer files may have later words of its tasks.
      if (file >= current || tasks.size > 0) break
      this.#files.delete(file)
      unneeded.push(file)
    }
    return unneeded
  }

  /** The tasks for which files older than `file` are needed. */
  before(file: number): TaskId[] {
    return [...this.#files].flatMap(([number, tasks]) => (number < file ? [...tasks] : []))
  }
}
