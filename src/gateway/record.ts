/**
 * One task as this process knows it: what was asked, what was said, what follows from it.
 */
import type { CanceledBy, Seq } from '../core/event.js'
import { TaskState } from '../core/state.js'
import type { Task } from '../core/task.js'
import { TaskLog } from '../log/task-log.js'

/** Task, state, log and their places in maps, measured with tasks of one token: what no field below counts. */
const OBJECT_BYTES = 2500

export class TaskRecord {
  readonly task: Task
  readonly state: TaskState
  readonly log: TaskLog
  /** Counts up with every task of this process: the order of a listing. */
  readonly ordinal: number
  /** The seq given out last; the log follows when it is recorded. */
  assigned: Seq = 0
  /** Who asked for its end first; whoever holds the task acts on it. */
  canceledBy: CanceledBy | null = null

  /** Of a prompt that was encoded at the door, until the task has ended: every attempt is prefilled with them. */
  promptIds: Int32Array | null = null

  constructor(task: Task, ordinal: number, maxRingEvents: number) {
    this.task = task
    this.ordinal = ordinal
    this.state = new TaskState(task)
    this.log = new TaskLog(task.id, maxRingEvents)
  }

  /** Bytes of memory that it holds on to. */
  get bytes(): number {
    return OBJECT_BYTES + this.log.bytes + this.task.bytes + (this.promptIds?.byteLength ?? 0)
  }
}
