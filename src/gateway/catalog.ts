/**
 * All tasks that a caller can ask for: those in memory, and behind them the archive.
 *
 * A task goes from one to the other when it has ended, and is in both for a moment, never in neither. One whose
 * acceptance is not certain yet is known to nobody.
 */
import type { Backend } from '../backend/backend.js'
import type { TaskId } from '../core/id.js'
import type { TaskStatus } from '../core/task.js'
import { TaskRecord } from './record.js'
import { gone, notFound, storageFull } from './refusals.js'
import { Registry } from './registry.js'

export type CatalogOptions = {
  /** From a task's end until its log is dropped. */
  retentionMs: number
  /** Memory for archived tasks that were read or written last. */
  maxCachedBytes: number
}

/** Newest first; `next` is the ordinal to go on before, null at the end. */
export type Listing = { records: TaskRecord[]; next: number | null }

export class Catalog {
  readonly registry: Registry
  readonly #backend: Backend
  readonly #retentionMs: number
  readonly #uncertain = new Set<TaskId>()
  /** Tasks that have ended and are not in the archive yet. */
  readonly #archiving = new Map<TaskId, Promise<void>>()

  constructor(options: CatalogOptions, backend: Backend) {
    this.registry = new Registry(options.maxCachedBytes)
    this.#backend = backend
    this.#retentionMs = options.retentionMs
    backend.onDropped((ids) => {
      for (const id of ids) this.registry.forget(id)
    })
  }

  /** What `accept` says, while nobody else knows of the task; it must be added before. */
  async whileUncertain<T>({ task }: TaskRecord, accept: () => Promise<T>): Promise<T> {
    this.#uncertain.add(task.id)
    try {
      return await accept()
    } finally {
      this.#uncertain.delete(task.id)
    }
  }

  isUncertain(id: TaskId): boolean {
    return this.#uncertain.has(id)
  }

  /** It has ended. */
  ended(record: TaskRecord): void {
    this.registry.ended()
    const { task, log } = record
    const archiving = this.#backend.archive({ task, log }).then(() => {
      this.#archiving.delete(task.id)
      this.registry.archived(record)
    })
    this.#archiving.set(task.id, archiving)
  }

  /** Drops an ended task, as retention would. @throws RejoinError `storage_full` */
  async remove({ task }: TaskRecord): Promise<void> {
    await this.#archiving.get(task.id)
    try {
      await this.#backend.remove(task.id)
    } catch {
      throw storageFull()
    }
  }

  /** @throws RejoinError `task_not_found`, also for another owner's task; `log_gone` after retention */
  async find(owner: string, id: TaskId): Promise<TaskRecord> {
    const record = this.registry.get(id) ?? (await this.#archived(owner, id))
    if (record.task.owner !== owner || this.isUncertain(id)) throw notFound(id)
    const expiresAt = this.expiresAt(record)
    // Retention looks from time to time; who is told when a log is dropped can rely on it.
    if (expiresAt !== null && expiresAt <= Date.now()) throw gone(id)
    return record
  }

  /** Tasks before that ordinal. A page may be short of its limit, even empty. */
  async list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<Listing> {
    // In this order: a task that is archived meanwhile is in both, and not in neither.
    const here = this.registry.list(owner, before, limit + 1, status)
    const { kept, next } = await this.#backend.list(owner, before, limit, status)
    const records = new Map<number, TaskRecord>()
    for (const { task, log } of kept) records.set(task.ordinal, new TaskRecord(task, log))
    for (const record of here) if (!this.isUncertain(record.task.id)) records.set(record.task.ordinal, record)
    // The page ends where the archive's did: what is older and in memory comes after what the archive has there.
    const page = [...records.values()]
      .filter(({ task }) => next === null || task.ordinal >= next)
      .sort((a, b) => b.task.ordinal - a.task.ordinal)
    const last = page.at(limit - 1)
    return { records: page.slice(0, limit), next: page.length > limit && last ? last.task.ordinal : next }
  }

  /** Unix ms; null while it is not ended. */
  expiresAt({ state }: TaskRecord): number | null {
    return state.finishedAt === null ? null : state.finishedAt + this.#retentionMs
  }

  /** @throws RejoinError `task_not_found`, `log_gone` */
  async #archived(owner: string, id: TaskId): Promise<TaskRecord> {
    const found = await this.#backend.find(id)
    switch (found.type) {
      case 'kept': {
        const { task, log } = found.kept
        const record = new TaskRecord(task, log)
        this.registry.cache(record)
        return record
      }
      case 'dropped':
        throw found.owner === owner ? gone(id) : notFound(id)
      case 'unknown':
        throw notFound(id)
      default:
        return found satisfies never
    }
  }
}
