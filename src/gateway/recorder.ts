/**
 * The one way by which an event comes to be: numbered, recorded in the backend, then visible.
 *
 * Write-ahead: readers see an event only after the backend has it. Many tasks' words go in one append, and when it
 * has committed all of it becomes visible in one go; the readers that are behind mark themselves for the pump.
 */
import type { Backend, Flush } from '../backend/backend.js'
import { type EventBody, isTerminal, type TaskEvent } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { TaskRecord } from './record.js'

/** What one task has to say, in order, and the ids of its tokens. */
export type Saying = { record: TaskRecord; attempt: number; bodies: EventBody[]; ids: number[] }

/** Side by side: an event, and the task that said it. */
type Said = { records: TaskRecord[]; events: TaskEvent[] }

export class Recorder {
  readonly #backend: Backend
  readonly #onEnd: (record: TaskRecord, end: TaskEvent) => void

  constructor(backend: Backend, onEnd: (record: TaskRecord, end: TaskEvent) => void) {
    this.#backend = backend
    this.#onEnd = onEnd
  }

  /** Resolves when all of it is visible. */
  record(sayings: Saying[]): Promise<void> {
    if (sayings.length === 0) return Promise.resolve()
    const at = Date.now()
    const said: Said = { records: [], events: [] }
    const flushes: Flush[] = []
    for (const { record, attempt, bodies, ids } of sayings) {
      const events = bodies.map((body) => numbered(record, at, body))
      flushes.push({ id: record.task.id, attempt, events, ids })
      for (const event of events) said.records.push(record) && said.events.push(event)
    }
    return this.#show(said, this.#backend.append(flushes))
  }

  // Nothing but the events themselves is held while they are being recorded: what lives that long is what the garbage
  // collector has to copy, and at full speed that costs more than the recording.
  async #show({ records, events }: Said, appended: Promise<TaskId[]>): Promise<void> {
    const stale = await appended
    for (const [index, event] of events.entries()) {
      if (stale.length > 0 && stale.includes(event.task)) continue
      const record = records[index] as TaskRecord
      record.state.apply(event)
      record.log.append(event)
      if (isTerminal(event)) this.#onEnd(record, event)
    }
  }
}

export function numbered(record: TaskRecord, at: number, body: EventBody): TaskEvent {
  record.assigned++
  return { task: record.task.id, seq: record.assigned, at, ...body }
}
