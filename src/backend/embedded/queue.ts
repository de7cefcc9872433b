/**
 * The tasks of one model that wait: highest priority first, then in order of arrival.
 *
 * One insertion-ordered map per priority, so adding, taking and removing are O(1); a position is counted when
 * somebody asks.
 */
import type { TaskId } from '../../core/id.js'
import type { Task } from '../../core/task.js'

const PRIORITIES = 10

export class Queue {
  readonly #lines = Array.from({ length: PRIORITIES }, () => new Map<TaskId, Task>())
  #size = 0

  get size(): number {
    return this.#size
  }

  add(task: Task): void {
    this.#line(task.spec.priority).set(task.id, task)
    this.#size++
  }

  take(max: number): Task[] {
    const taken: Task[] = []
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) {
      for (const task of this.#line(priority).values()) {
        if (taken.length === max) return taken
        taken.push(task)
        this.remove(task)
      }
    }
    return taken
  }

  remove(task: Task): boolean {
    const removed = this.#line(task.spec.priority).delete(task.id)
    if (removed) this.#size--
    return removed
  }

  ahead(priority: number): number {
    let count = 0
    for (let higher = priority; higher < PRIORITIES; higher++) count += this.#line(higher).size
    return count
  }

  /** O(tasks of the same priority). */
  position(task: Task): number | null {
    let ahead = this.ahead(task.spec.priority + 1)
    for (const id of this.#line(task.spec.priority).keys()) {
      if (id === task.id) return ahead
      ahead++
    }
    return null
  }

  #line(priority: number): Map<TaskId, Task> {
    return this.#lines[priority] as Map<TaskId, Task>
  }
}
