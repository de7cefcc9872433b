/**
 * All tasks of this process, by id and by owner, and how long ended ones are kept.
 *
 * Retention has two bounds, age and bytes; the task that ended first goes first, and only ended tasks go. The ids
 * of those that went are remembered (up to a bound), so that a late reader is told `log_gone` and not that its
 * task never existed.
 */

import { RejoinError } from '../core/errors.js'
import type { TaskId } from '../core/id.js'
import { lowerBound } from '../core/sorted.js'
import type { TaskStatus } from '../core/task.js'
import type { TaskRecord } from './record.js'

export type Retention = {
  /** From a task's end. */
  retentionMs: number
  /** Of ended tasks together. */
  retentionBytes: number
}

const MAX_GONE = 100_000

export class Registry {
  readonly #retention: Retention
  readonly #records = new Map<TaskId, TaskRecord>()
  readonly #owned = new Map<string, Owned>()
  // In order of their end.
  readonly #ended = new Map<TaskId, { record: TaskRecord; bytes: number }>()
  readonly #gone = new Map<TaskId, string>()
  #endedBytes = 0

  constructor(retention: Retention) {
    this.#retention = retention
  }

  get unfinished(): number {
    return this.#records.size - this.#ended.size
  }

  add(record: TaskRecord): void {
    this.#records.set(record.task.id, record)
    const owned = this.#owned.get(record.task.owner) ?? new Owned()
    this.#owned.set(record.task.owner, owned)
    owned.add(record)
  }

  get(id: TaskId): TaskRecord | undefined {
    return this.#records.get(id)
  }

  /** @throws RejoinError `task_not_found`, also for another owner's task; `log_gone` after retention */
  find(owner: string, id: TaskId): TaskRecord {
    const record = this.#records.get(id)
    if (record?.task.owner === owner) return record
    if (this.#gone.get(id) === owner) {
      throw new RejoinError('log_gone', `task ${id} ended and its log was dropped by retention`)
    }
    throw new RejoinError('task_not_found', `no task ${id}`)
  }

  /** Newest first: up to `limit` tasks older than `before`, which is an ordinal. */
  list(owner: string, before: number, limit: number, status: TaskStatus | null): TaskRecord[] {
    return this.#owned.get(owner)?.newest(before, limit, status) ?? []
  }

  unfinishedTasks(): TaskRecord[] {
    return [...this.#records.values()].filter((record) => !record.state.ended)
  }

  /** Forgets a task that was not accepted after all. */
  remove(record: TaskRecord): void {
    this.#records.delete(record.task.id)
    this.#owned.get(record.task.owner)?.remove(record)
  }

  /** Notes that a task has ended: from now on retention counts it. */
  ended(record: TaskRecord): void {
    const { bytes } = record
    this.#ended.set(record.task.id, { record, bytes })
    this.#endedBytes += bytes
    this.sweep(Date.now())
  }

  /** Unix ms; null while the task is not ended. */
  expiresAt(record: TaskRecord): number | null {
    const { finishedAt } = record.state
    return finishedAt === null ? null : finishedAt + this.#retention.retentionMs
  }

  /** Drops what is over the bounds. */
  sweep(now: number): void {
    for (const { record, bytes } of this.#ended.values()) {
      const old = (this.expiresAt(record) ?? now) <= now
      if (!old && this.#endedBytes <= this.#retention.retentionBytes) return
      this.#drop(record, bytes)
    }
  }

  #drop(record: TaskRecord, bytes: number): void {
    const { id, owner } = record.task
    this.#ended.delete(id)
    this.#endedBytes -= bytes
    this.remove(record)
    this.#gone.set(id, owner)
    if (this.#gone.size > MAX_GONE) for (const oldest of this.#gone.keys()) return void this.#gone.delete(oldest)
  }
}

/** One owner's tasks in order of arrival. Removal leaves a hole; holes are closed when they are the half. */
class Owned {
  #records: (TaskRecord | null)[] = []
  #ordinals: number[] = []
  #holes = 0

  add(record: TaskRecord): void {
    this.#records.push(record)
    this.#ordinals.push(record.ordinal)
  }

  remove(record: TaskRecord): void {
    const at = lowerBound(this.#ordinals, record.ordinal)
    if (this.#records[at] !== record) return
    this.#records[at] = null
    this.#holes++
    if (this.#holes * 2 <= this.#records.length) return
    this.#records = this.#records.filter((record) => record !== null)
    this.#ordinals = this.#records.map((record) => (record as TaskRecord).ordinal)
    this.#holes = 0
  }

  newest(before: number, limit: number, status: TaskStatus | null): TaskRecord[] {
    const found: TaskRecord[] = []
    for (let at = lowerBound(this.#ordinals, before) - 1; at >= 0 && found.length < limit; at--) {
      const record = this.#records[at]
      if (record && (status === null || record.state.status === status)) found.push(record)
    }
    return found
  }
}
