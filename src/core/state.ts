/**
 * What is known of a task from its events: a fold, so that the same log always gives the same state.
 *
 * The text is not here; the log keeps it. A task is over when its log says so: `status` follows the terminal
 * event and nothing else sets it.
 */
import type { FinishReason, Seq, TaskEvent, Usage } from './event.js'
import type { Task, TaskStatus } from './task.js'

export class TaskState {
  readonly task: Task
  status: TaskStatus = 'queued'
  lastSeq: Seq = 0
  attempt = 0
  /** Unix ms. */
  startedAt: number | null = null
  finishedAt: number | null = null
  finishReason: FinishReason | null = null
  /** Percent of the known work, from `progress` events. */
  percent = 0
  usage: Usage | null = null
  error: { code: string; message: string } | null = null

  constructor(task: Task) {
    this.task = task
  }

  get ended(): boolean {
    return this.finishedAt !== null
  }

  apply(event: TaskEvent): void {
    this.lastSeq = event.seq
    switch (event.type) {
      case 'queued':
      case 'token':
        return
      case 'started':
        this.status = 'running'
        this.attempt = event.attempt
        this.startedAt ??= event.at
        return
      case 'progress':
        this.percent = event.percent
        return
      case 'retrying':
        this.attempt = event.attempt
        return
      case 'completed':
        this.finishReason = event.finish_reason
        this.usage = event.usage
        this.percent = 100
        this.#end('completed', event.at)
        return
      case 'failed':
        this.error = event.error
        this.#end('failed', event.at)
        return
      case 'canceled':
        this.#end('canceled', event.at)
        return
      default:
        event satisfies never
    }
  }

  #end(status: TaskStatus, at: number): void {
    this.status = status
    this.finishedAt = at
  }
}
