/**
 * The one way by which what a task says comes to be seen: recorded in the backend, then visible.
 *
 * Write-ahead: readers see an event only after the backend has it. Many tasks' words go in one append, and when it
 * has committed all of it becomes visible in one go; the readers that are behind mark themselves for the pump.
 */
import type { Backend, Flush } from '../backend/backend.js'
import type { EventBody, Seq, TaskEvent } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { TaskLog } from '../log/task-log.js'
import type { TaskRecord } from './record.js'

/** What one task has to say: all that is added to its log from when this is made until it is recorded. */
export class Saying implements Flush {
  readonly record: TaskRecord
  /** Of its tokens. */
  readonly ids: number[] = []
  readonly from: Seq
  /** Set when it is recorded. */
  to: Seq
  attempt: number

  constructor(record: TaskRecord, attempt: number) {
    this.record = record
    this.attempt = attempt
    this.from = record.log.addedSeq
    this.to = this.from
  }

  get id(): TaskId {
    return this.record.task.id
  }

  get log(): TaskLog {
    return this.record.log
  }

  say(body: EventBody, at: number): this {
    this.record.add(body, at)
    return this
  }
}

/** Side by side: a task, and up to where it has been recorded. */
type Recorded = { records: TaskRecord[]; upTo: Seq[] }

export class Recorder {
  readonly #backend: Backend
  readonly #onEnd: (record: TaskRecord, end: TaskEvent) => void
  /** That are visible, since the start of the process. */
  events = 0

  constructor(backend: Backend, onEnd: (record: TaskRecord, end: TaskEvent) => void) {
    this.#backend = backend
    this.#onEnd = onEnd
  }

  /** Resolves when all of it is visible. */
  record(sayings: Saying[]): Promise<void> {
    if (sayings.length === 0) return Promise.resolve()
    const recorded: Recorded = { records: [], upTo: [] }
    for (const saying of sayings) {
      saying.to = saying.log.addedSeq
      recorded.records.push(saying.record)
      recorded.upTo.push(saying.to)
    }
    return this.#show(recorded, this.#backend.append(sayings))
  }

  // No more than this is held while it is being recorded: what lives that long is what the garbage collector has to
  // copy, and at full speed that costs more than the recording.
  async #show({ records, upTo }: Recorded, appended: Promise<TaskId[]>): Promise<void> {
    const stale = await appended
    for (let i = 0; i < records.length; i++) {
      const record = records[i] as TaskRecord
      if (stale.length > 0 && stale.includes(record.task.id)) continue
      this.events += (upTo[i] as Seq) - record.log.lastSeq
      record.show(upTo[i] as Seq)
      const { end } = record.log
      if (end !== null) this.#onEnd(record, end)
    }
  }
}
