/**
 * One task as this process knows it: what was asked, what was said, what follows from it.
 */
import type { CanceledBy, EventBody, Seq, TaskEvent } from '../core/event.js'
import { TaskState } from '../core/state.js'
import type { Task } from '../core/task.js'
import type { TaskLog } from '../log/task-log.js'

/** Task, state, log and their places in maps, measured with tasks of one token: what no field below counts. */
const OBJECT_BYTES = 2500

export class TaskRecord {
  readonly task: Task
  readonly state: TaskState
  readonly log: TaskLog
  /** Who asked for its end first; whoever holds the task acts on it. */
  canceledBy: CanceledBy | null = null
  /** Index of the first mark of the log that is not in the state yet, or of one before it. */
  #mark = 0

  /** `log`: all that it has said until now. */
  constructor(task: Task, log: TaskLog) {
    this.task = task
    this.log = log
    this.state = new TaskState(task)
    this.#apply(log.lastSeq)
  }

  /** The next event that it says; it is to be recorded, and then shown. */
  add(body: EventBody, at: number): TaskEvent {
    const event: TaskEvent = { task: this.task.id, seq: this.log.addedSeq + 1, at, ...body }
    this.log.add(event)
    return event
  }

  /** What it said up to `seq` is recorded: readers see it. */
  show(seq: Seq): void {
    this.#apply(seq)
    this.log.show(seq)
  }

  #apply(seq: Seq): void {
    const { log, state } = this
    this.#mark = log.markAfter(state.lastSeq, this.#mark)
    for (let mark = log.markAt(this.#mark); mark && mark.seq <= seq; mark = log.markAt(++this.#mark)) {
      if (mark.entry !== null) state.apply(mark.entry.event)
    }
    state.lastSeq = seq
  }

  /** Bytes of memory that it holds on to. */
  get bytes(): number {
    return OBJECT_BYTES + this.log.bytes + this.task.bytes
  }
}
