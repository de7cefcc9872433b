/**
 * The seam behind the gateway: where tasks wait and what they said is kept.
 *
 * Implementations differ only in how far they reach: this process, this machine's disk, several machines. What is
 * expected to happen is a value (`full`, `replay`, a refused id), what must not happen throws. Calls of `append`
 * commit in the order in which they were made.
 */
import type { CanceledBy, TaskEvent } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { Idempotency, Task } from '../core/task.js'

/** What an idempotency key means that its owner used before: nothing is added. */
export type Known =
  /** With the same body: this is that task. */
  | { type: 'replay'; id: TaskId }
  /** With another body. */
  | { type: 'conflict' }

export type Enqueued = { type: 'queued' } | Known | Full

export type Full = { type: 'full'; bound: FullBound; max: number }

/** Tasks that wait, bytes of their requests, or idempotency keys. */
export type FullBound = 'queue' | 'bytes' | 'keys'

/** What one task said in one flush. `attempt` fences: a worker that was given up cannot write any more. */
export type Flush = { id: TaskId; attempt: number; events: TaskEvent[] }

export type Canceling =
  /** It was waiting: it is out of the queue, and the caller holds it and ends its log. */
  | 'taken'
  /** It runs: the listener of whoever runs it was told. */
  | 'sent'
  | 'unknown'

export interface Backend {
  /** Null for a key that is new. `enqueue` asks again; this is for what only a new task can be refused for. */
  known(owner: string, idempotency: Idempotency): Promise<Known | null>
  /** Returns once the task and its first event would survive a crash (as far as the durability here goes). */
  enqueue(task: Task, first: TaskEvent): Promise<Enqueued>
  /**
   * Waits for a task of this model, gives up to `max`; they are ours until their logs end. Empty when aborted. By
   * priority, then in order of arrival; every 16th one is the one that has waited longest, so that none waits for ever.
   */
  take(model: string, max: number, signal: AbortSignal): Promise<Task[]>
  /** One record for many tasks; a terminal event ends our hold. Returns the ids that were refused as stale. */
  append(flushes: Flush[]): Promise<TaskId[]>
  cancel(id: TaskId, by: CanceledBy): Promise<Canceling>
  onCancel(listener: (id: TaskId, by: CanceledBy) => void): void
  close(): Promise<void>
}

/** What admission and task objects ask of a queue. */
export interface QueueView {
  /** Tasks that wait, of all models. */
  readonly depth: number
  /** Why so many tasks more, whose requests have so many bytes, would be refused; null when they would not. */
  full(tasks: number, bytes: number): Full | null
  /** Tasks ahead by priority and arrival, an estimate: more urgent ones may come, and age counts, too. Null when it does not wait. */
  position(id: TaskId): number | null
  /** As `position`, for a new one. */
  ahead(model: string, priority: number): number
}
