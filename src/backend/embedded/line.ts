/**
 * Tasks of equal priority in order of arrival; says in O(log n) how many are ahead of one.
 *
 * Each task draws a ticket when it joins. Tasks leave at the head, or from the middle when they are canceled; the
 * tickets of the latter are kept, in order, until the head has passed them. So the number ahead is the distance to
 * the head less the holes between.
 */
import type { TaskId } from '../../core/id.js'
import { lowerBound } from '../../core/sorted.js'
import type { Task } from '../../core/task.js'

export class Line {
  readonly #waiting = new Map<TaskId, { task: Task; ticket: number; arrival: number }>()
  #nextTicket = 0
  /** Every ticket below has left. */
  #head = 0
  /** Tickets from the head on that have left, ascending. */
  #holes: number[] = []

  get size(): number {
    return this.#waiting.size
  }

  /** The arrival of the task at the head; Infinity when there is none. */
  get oldest(): number {
    for (const { arrival } of this.#waiting.values()) return arrival
    return Number.POSITIVE_INFINITY
  }

  /** `arrival` tells the order among the tasks of several lines. */
  add(task: Task, arrival: number): void {
    this.#waiting.set(task.id, { task, ticket: this.#nextTicket++, arrival })
  }

  take(max: number): Task[] {
    const taken: Task[] = []
    for (const { task, ticket } of this.#waiting.values()) {
      if (taken.length === max) break
      taken.push(task)
      this.#waiting.delete(task.id)
      this.#head = ticket + 1
    }
    if (taken.length > 0) this.#holes.splice(0, this.#holesBelow(this.#head))
    return taken
  }

  remove(id: TaskId): void {
    const found = this.#waiting.get(id)
    if (!found) return
    this.#waiting.delete(id)
    if (this.#waiting.size > 0) {
      this.#holes.splice(this.#holesBelow(found.ticket), 0, found.ticket)
    } else {
      this.#head = this.#nextTicket
      this.#holes = []
    }
  }

  /** Tasks ahead; null when it is not in this line. */
  position(id: TaskId): number | null {
    const found = this.#waiting.get(id)
    return found ? found.ticket - this.#head - this.#holesBelow(found.ticket) : null
  }

  #holesBelow(ticket: number): number {
    return lowerBound(this.#holes, ticket)
  }
}
