/**
 * One task as this process knows it: what was asked, what was said, what follows from it.
 */
import type { CanceledBy, Seq } from '../core/event.js'
import { TaskState } from '../core/state.js'
import type { Task } from '../core/task.js'
import type { TaskLog } from '../log/task-log.js'

/** Task, state, log and their places in maps, measured with tasks of one token: what no field below counts. */
const OBJECT_BYTES = 2500

export class TaskRecord {
  readonly task: Task
  readonly state: TaskState
  readonly log: TaskLog
  /** The seq given out last; the log follows when it is recorded. */
  assigned: Seq
  /** Who asked for its end first; whoever holds the task acts on it. */
  canceledBy: CanceledBy | null = null

  /** `log`: all that it has said until now. */
  constructor(task: Task, log: TaskLog) {
    this.task = task
    this.log = log
    this.state = new TaskState(task)
    for (const event of log.markEvents()) this.state.apply(event)
    this.state.lastSeq = log.lastSeq
    this.assigned = log.lastSeq
  }

  /** Bytes of memory that it holds on to. */
  get bytes(): number {
    return OBJECT_BYTES + this.log.bytes + this.task.bytes
  }
}
