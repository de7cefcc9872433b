/**
 * The one way by which an event comes to be: numbered, recorded in the backend, then visible.
 *
 * Write-ahead: readers see an event only after the backend has it. Many tasks' words go in one append, and when it
 * has committed all of it becomes visible in one go; the readers that are behind mark themselves for the pump.
 */
import type { Backend, Flush } from '../backend/backend.js'
import type { EventBody, TaskEvent } from '../core/event.js'
import type { TaskRecord } from './record.js'

/** What one task has to say, in order, and the ids of its tokens. */
export type Saying = { record: TaskRecord; attempt: number; bodies: EventBody[]; ids: number[] }

export class Recorder {
  readonly #backend: Backend
  readonly #onEnd: (record: TaskRecord) => void

  constructor(backend: Backend, onEnd: (record: TaskRecord) => void) {
    this.#backend = backend
    this.#onEnd = onEnd
  }

  /** Resolves when all of it is visible. */
  async record(sayings: Saying[]): Promise<void> {
    if (sayings.length === 0) return
    const at = Date.now()
    const flushes: Flush[] = sayings.map(({ record, attempt, bodies, ids }) => ({
      id: record.task.id,
      attempt,
      events: bodies.map((body) => numbered(record, at, body)),
      ids,
    }))
    const stale = await this.#backend.append(flushes)
    for (const [index, { record }] of sayings.entries()) {
      const { id, events } = flushes[index] as Flush
      if (!stale.includes(id)) this.#show(record, events)
    }
  }

  #show(record: TaskRecord, events: TaskEvent[]): void {
    for (const event of events) {
      record.state.apply(event)
      record.log.append(event)
    }
    if (record.state.ended) this.#onEnd(record)
  }
}

export function numbered(record: TaskRecord, at: number, body: EventBody): TaskEvent {
  record.assigned++
  return { task: record.task.id, seq: record.assigned, at, ...body }
}
