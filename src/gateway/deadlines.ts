/**
 * Tasks that must have ended at some time, one timer each.
 */
import type { TaskId } from '../core/id.js'
import type { Task } from '../core/task.js'

export class Deadlines {
  readonly #timers = new Map<TaskId, NodeJS.Timeout>()
  readonly #onMissed: (id: TaskId) => void

  constructor(onMissed: (id: TaskId) => void) {
    this.#onMissed = onMissed
  }

  /** Counts from the task's acceptance, also when that was in another process. */
  set({ id, spec, createdAt }: Task): void {
    if (spec.deadlineMs === null) return
    const missed = (): void => {
      this.#timers.delete(id)
      this.#onMissed(id)
    }
    this.#timers.set(id, setTimeout(missed, createdAt + spec.deadlineMs - Date.now()))
  }

  clear(id: TaskId): void {
    clearTimeout(this.#timers.get(id))
    this.#timers.delete(id)
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }
}
