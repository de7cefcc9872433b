/**
 * The seam between the embedded backend and where ended tasks are kept: on disk, or in memory where nothing is to last.
 *
 * A task comes here once, when it has ended, in the form of bytes that nobody here looks into. Retention has two
 * bounds, age and bytes; the task that ended first goes first. The names of those that went are remembered, up to a
 * bound, so that a late reader is told that its log is gone and not that its task never was.
 */
import type { Delivery } from '../../core/delivery.js'
import type { TaskId } from '../../core/id.js'
import type { TaskStatus } from '../../core/task.js'

export type Retention = {
  /** From a task's end. */
  retentionMs: number
  /** Of ended tasks together, as they are kept. */
  retentionBytes: number
}

/** An idempotency key; it outlives its task's log when that is dropped early. */
export type StoredKey = {
  owner: string
  key: string
  bodyHash: string
  id: TaskId
  /** Of its task. */
  ordinal: number
  /** Unix ms. */
  expiresAt: number
}

/** An ended task. */
export type Archived = {
  id: TaskId
  owner: string
  ordinal: number
  status: TaskStatus
  /** Unix ms. */
  endedAt: number
  blob: Uint8Array
}

/** An ended task with what must be kept in the same moment. */
export type Ended = Archived & { key: StoredKey | null; delivery: Delivery | null }

export type ArchiveFound = { type: 'kept'; blob: Uint8Array } | { type: 'dropped'; owner: string } | { type: 'unknown' }

/** Newest first; `next` is the ordinal to go on before, null at the end. */
export type ArchivePage = { blobs: Uint8Array[]; next: number | null }

/** Drops the first ended tasks when it is over its bounds, with every `put` and when it is told to look, and tells of them. */
export interface Archive {
  /** Resolves when it is found here, also after a crash where there is a disk; waits while that takes nothing. */
  put(task: Ended): Promise<void>
  find(id: TaskId): Promise<ArchiveFound>
  list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<ArchivePage>
  /** Drops one, whatever its age; one that is not here changes nothing. @throws when the disk takes nothing */
  remove(id: TaskId): Promise<void>
  /** Drops what is older than `retentionMs`, a bounded number at once. */
  sweep(now: number): Promise<void>
  onDropped(listener: OnDropped): void
  close(): Promise<void>
}

export type OnDropped = (ids: TaskId[]) => void

/** Names of dropped tasks that are remembered. */
export const MAX_DROPPED = 100_000
/** One look at a listing passes at most so many tasks that have another status. */
export const MAX_SCANNED = 10_000
/** One sweep drops at most so many. */
export const MAX_SWEPT = 10_000
