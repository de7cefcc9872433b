/**
 * The archive of a gateway that keeps nothing beyond its process.
 */
import type { TaskId } from '../../core/id.js'
import { lowerBound } from '../../core/sorted.js'
import type { TaskStatus } from '../../core/task.js'
import {
  type Archive,
  type Archived,
  type ArchiveFound,
  type ArchivePage,
  type Ended,
  MAX_DROPPED,
  MAX_SCANNED,
  MAX_SWEPT,
  type OnDropped,
  type Retention,
} from './archive.js'

export class MemoryArchive implements Archive {
  readonly #retention: Retention
  /** In order of their end. */
  readonly #tasks = new Map<TaskId, Archived>()
  readonly #owned = new Map<string, Owned>()
  readonly #dropped = new Map<TaskId, string>()
  #bytes = 0
  #onDropped: OnDropped = () => {}

  constructor(retention: Retention) {
    this.#retention = retention
  }

  onDropped(listener: OnDropped): void {
    this.#onDropped = listener
  }

  async put(task: Ended): Promise<void> {
    this.#tasks.set(task.id, task)
    this.#bytes += task.blob.byteLength
    const owned = this.#owned.get(task.owner) ?? new Owned()
    this.#owned.set(task.owner, owned)
    owned.add(task)
    await this.sweep(Date.now())
  }

  async find(id: TaskId): Promise<ArchiveFound> {
    const task = this.#tasks.get(id)
    if (task) return { type: 'kept', blob: task.blob }
    const owner = this.#dropped.get(id)
    return owner === undefined ? { type: 'unknown' } : { type: 'dropped', owner }
  }

  async list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<ArchivePage> {
    return this.#owned.get(owner)?.newest(before, limit, status) ?? { blobs: [], next: null }
  }

  async sweep(now: number): Promise<void> {
    const { retentionMs, retentionBytes } = this.#retention
    const swept: TaskId[] = []
    for (const task of this.#tasks.values()) {
      if (task.endedAt + retentionMs > now && this.#bytes <= retentionBytes) break
      if (swept.length === MAX_SWEPT) break
      this.#drop(task)
      swept.push(task.id)
    }
    if (swept.length > 0) this.#onDropped(swept)
  }

  async remove(id: TaskId): Promise<void> {
    const task = this.#tasks.get(id)
    if (!task) return
    this.#drop(task)
    this.#onDropped([id])
  }

  async close(): Promise<void> {}

  #drop(task: Archived): void {
    this.#tasks.delete(task.id)
    this.#bytes -= task.blob.byteLength
    const owned = this.#owned.get(task.owner)
    owned?.remove(task)
    if (owned?.size === 0) this.#owned.delete(task.owner)
    this.#dropped.set(task.id, task.owner)
    if (this.#dropped.size > MAX_DROPPED)
      for (const oldest of this.#dropped.keys()) return void this.#dropped.delete(oldest)
  }
}

/** One owner's tasks by ordinal. Removal leaves a hole; holes are closed when they are the half. */
class Owned {
  #tasks: (Archived | null)[] = []
  #ordinals: number[] = []
  #holes = 0

  get size(): number {
    return this.#tasks.length - this.#holes
  }

  /** They come by their end, so nearly in order. */
  add(task: Archived): void {
    const at = lowerBound(this.#ordinals, task.ordinal)
    this.#tasks.splice(at, 0, task)
    this.#ordinals.splice(at, 0, task.ordinal)
  }

  remove(task: Archived): void {
    const at = lowerBound(this.#ordinals, task.ordinal)
    if (this.#tasks[at] !== task) return
    this.#tasks[at] = null
    this.#holes++
    if (this.#holes * 2 <= this.#tasks.length) return
    this.#tasks = this.#tasks.filter((task) => task !== null)
    this.#ordinals = this.#tasks.map((task) => (task as Archived).ordinal)
    this.#holes = 0
  }

  newest(before: number, limit: number, status: TaskStatus | null): ArchivePage {
    const blobs: Uint8Array[] = []
    let at = lowerBound(this.#ordinals, before)
    for (let scanned = 0; at > 0 && blobs.length < limit && scanned < MAX_SCANNED; scanned++) {
      const task = this.#tasks[--at]
      if (task && (status === null || task.status === status)) blobs.push(task.blob)
    }
    return { blobs, next: at > 0 ? (this.#ordinals[at] as number) : null }
  }
}
