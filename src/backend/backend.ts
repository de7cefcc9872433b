/**
 * The seam behind the gateway: where tasks wait and what they said is kept.
 *
 * Implementations differ only in how far they reach: this process, this machine's disk, several machines. What is
 * expected to happen is a value (`full`, `replay`, a refused id), what must not happen throws. Calls of `append`
 * commit in the order in which they were made; one that cannot commit (a full disk) waits until it can.
 */
import type { DeliveryStore } from '../core/delivery.js'
import type { CanceledBy, Seq, TaskEvent } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { Idempotency, Task, TaskStatus } from '../core/task.js'
import type { TaskLog } from '../log/task-log.js'

/** What an idempotency key means that its owner used before: nothing is added. */
export type Known =
  /** With the same body: this is that task. */
  | { type: 'replay'; id: TaskId }
  /** With another body. */
  | { type: 'conflict' }

export type Enqueued = { type: 'queued' } | Known | Full

export type Full = { type: 'full'; bound: FullBound; max: number }

/** Tasks that wait, bytes of their requests, idempotency keys, or the place where they are kept (its `max` is 0). */
export type FullBound = 'queue' | 'bytes' | 'keys' | 'storage'

/**
 * What one task said in one flush: the events of its log after `from` up to `to`, which are not visible yet, and the ids
 * of their tokens, which another attempt goes on from. `attempt` fences: a worker that was given up cannot write any more.
 */
export type Flush = { id: TaskId; attempt: number; log: TaskLog; from: Seq; to: Seq; ids: readonly number[] }

/** A task and all that it has said. */
export type Kept = { task: Task; log: TaskLog }

/** One that had not ended when its process did, or was not archived. */
export type Recovered = Kept & {
  /** Of all tokens of its log. */
  ids: number[]
  canceledBy: CanceledBy | null
}

export type Found =
  | { type: 'kept'; kept: Kept }
  /** Retention dropped it, not too long ago to remember. */
  | { type: 'dropped'; owner: string }
  | { type: 'unknown' }

/** Newest first; `next` is the ordinal to go on before, null at the end. A page may be short of its limit, even empty. */
export type Page = { kept: Kept[]; next: number | null }

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
  /** One record for many tasks; a terminal event ends our hold. Returns the ids that were refused as stale: what they said
   * is not to be shown. */
  append(flushes: Flush[]): Promise<TaskId[]>
  /** Resolves when whoever makes events may go on: at once, unless so many wait to be recorded that they should wait, too. */
  room(): Promise<void>
  cancel(id: TaskId, by: CanceledBy): Promise<Canceling>
  onCancel(listener: (id: TaskId, by: CanceledBy) => void): void
  /** What an ended task has said, whole: from when it resolves the task is found here, until retention drops it. */
  archive(kept: Kept): Promise<void>
  /** An ended task that was archived. */
  find(id: TaskId): Promise<Found>
  /** Drops a task that was archived, as retention would. @throws when the place where it is kept takes nothing */
  remove(id: TaskId): Promise<void>
  /** Of the ended tasks of an owner that were archived: those before an ordinal, with one status or any. */
  list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<Page>
  /** Drops ended tasks that are older than retention keeps them. (Its bound of bytes holds by itself.) */
  sweep(now: number): Promise<void>
  /** Told of the tasks that were dropped: of those that retention drops the ones that ended first go first. */
  onDropped(listener: (ids: TaskId[]) => void): void
  /** The listener tells what a running task has said until now, so that the backend need not keep its older flushes. */
  onCheckpoint(listener: (id: TaskId) => Recovered | null): void
  /** The webhook of an ended task is in it from the moment in which the task is archived. */
  readonly deliveries: DeliveryStore
  /** True: tasks that have not ended are there again after a restart. */
  readonly durable: boolean
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
