/**
 * The tasks that this process has in memory, by id and by owner: all that have not ended, those that have and are not in
 * the archive yet, and the archived ones that were asked for last, within a bound of bytes.
 */
import type { TaskId } from '../core/id.js'
import { lowerBound } from '../core/sorted.js'
import type { TaskStatus } from '../core/task.js'
import type { TaskRecord } from './record.js'

export class Registry {
  readonly #maxCachedBytes: number
  /** Not archived. */
  readonly #records = new Map<TaskId, TaskRecord>()
  /** The same. */
  readonly #owned = new Map<string, Owned>()
  /** Archived, the one that was used last at the end. */
  readonly #cached = new Map<TaskId, { record: TaskRecord; bytes: number }>()
  /** Dropped from the archive before it was known here that they are in it. */
  readonly #dropped = new Set<TaskId>()
  #cachedBytes = 0
  #unfinished = 0

  constructor(maxCachedBytes: number) {
    this.#maxCachedBytes = maxCachedBytes
  }

  /** Tasks that have not ended. */
  get unfinished(): number {
    return this.#unfinished
  }

  add(record: TaskRecord): void {
    const { id, owner } = record.task
    this.#records.set(id, record)
    const owned = this.#owned.get(owner) ?? new Owned()
    this.#owned.set(owner, owned)
    owned.add(record)
    this.#unfinished++
  }

  get(id: TaskId): TaskRecord | undefined {
    const record = this.#records.get(id)
    if (record) return record
    const cached = this.#cached.get(id)
    if (!cached) return undefined
    this.#cached.delete(id)
    this.#cached.set(id, cached)
    return cached.record
  }

  /** Of those that are not archived, newest first: up to `limit` tasks before that ordinal. */
  list(owner: string, before: number, limit: number, status: TaskStatus | null): TaskRecord[] {
    return this.#owned.get(owner)?.newest(before, limit, status) ?? []
  }

  unfinishedTasks(): TaskRecord[] {
    return [...this.#records.values()].filter((record) => !record.state.ended)
  }

  /** Forgets a task that was not accepted after all. */
  remove(record: TaskRecord): void {
    this.#unfinished--
    this.#take(record)
  }

  ended(): void {
    this.#unfinished--
  }

  /** It can be forgotten from now on. */
  archived(record: TaskRecord): void {
    this.#take(record)
    if (!this.#dropped.delete(record.task.id)) this.cache(record)
  }

  /** Keeps an archived task at hand, for as long as there is room. */
  cache(record: TaskRecord): void {
    const { bytes } = record
    this.forget(record.task.id)
    this.#cached.set(record.task.id, { record, bytes })
    this.#cachedBytes += bytes
    for (const id of this.#cached.keys()) {
      if (this.#cachedBytes <= this.#maxCachedBytes) return
      this.forget(id)
    }
  }

  /** It is not in the archive any more. */
  forget(id: TaskId): void {
    if (this.#records.has(id)) this.#dropped.add(id)
    const cached = this.#cached.get(id)
    if (!cached) return
    this.#cached.delete(id)
    this.#cachedBytes -= cached.bytes
  }

  #take(record: TaskRecord): void {
    const { id, owner } = record.task
    this.#records.delete(id)
    const owned = this.#owned.get(owner)
    owned?.remove(record)
    if (owned?.size === 0) this.#owned.delete(owner)
  }
}

/** One owner's tasks in order of acceptance. Removal leaves a hole; holes are closed when they are the half. */
class Owned {
  #records: (TaskRecord | null)[] = []
  #ordinals: number[] = []
  #holes = 0

  get size(): number {
    return this.#records.length - this.#holes
  }

  add(record: TaskRecord): void {
    this.#records.push(record)
    this.#ordinals.push(record.task.ordinal)
  }

  remove(record: TaskRecord): void {
    const at = lowerBound(this.#ordinals, record.task.ordinal)
    if (this.#records[at] !== record) return
    this.#records[at] = null
    this.#holes++
    if (this.#holes * 2 <= this.#records.length) return
    this.#records = this.#records.filter((record) => record !== null)
    this.#ordinals = this.#records.map((record) => (record as TaskRecord).task.ordinal)
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
