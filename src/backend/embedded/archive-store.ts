/**
 * What the embedded backend keeps in LMDB, as synchronous transactions for a thread of its own.
 *
 * Everything that belongs together is one transaction: a crash leaves all of it or nothing. A transaction that fails (a
 * full disk) throws and changes nothing. (The asynchronous interface of `lmdb` leaves rejections that nobody can catch
 * when a commit fails, and then hangs in `close`; this one does not.)
 *
 * Tables: `archive` has ended tasks by a number that counts up with each end, so that retention eats it from the front;
 * what it ate stays a while as a name without a log. `ids` and `owned` find them, `unended` has tasks that run for
 * long, `keys` the idempotency keys, `deliveries` the webhooks that are not delivered yet, `meta` the rest.
 */
import { type Database, open, type RootDatabase } from 'lmdb'
import type { Delivery } from '../../core/delivery.js'
import type { TaskId } from '../../core/id.js'
import type { TaskStatus } from '../../core/task.js'
import {
  type Archived,
  type ArchiveFound,
  type ArchivePage,
  type Ended,
  MAX_DROPPED,
  MAX_SCANNED,
  MAX_SWEPT,
  type Retention,
  type StoredKey,
} from './archive.js'

export type Unended = { id: TaskId; blob: Uint8Array; key: StoredKey | null }

/** What one transaction does, in this order. */
export type Commit = {
  ended: Ended[]
  /** Tasks that have not ended, as they are now. */
  unended: Unended[]
  /** As they are after another try. */
  deliveries: Delivery[]
  /** Tasks whose webhooks need no delivery any more. */
  delivered: TaskId[]
  /** Above that of every task in this transaction. */
  nextOrdinal: number
}

/** What a start needs. */
export type Opened = {
  unended: Uint8Array[]
  keys: StoredKey[]
  deliveries: Delivery[]
  nextOrdinal: number
}

/** In `archive`: a task, or what is left of one that was dropped. */
type Row = { type: 'kept'; task: Archived } | { type: 'dropped'; id: TaskId; owner: string }
type Meta = { nextOrdinal: number; bytes: number; firstKept: number; firstRow: number; nextRow: number }

const FRESH: Meta = { nextOrdinal: 1, bytes: 0, firstKept: 1, firstRow: 1, nextRow: 1 }

export class ArchiveStore {
  readonly #retention: Retention
  readonly #env: RootDatabase
  readonly #archive: Database<Row, number>
  readonly #ids: Database<number, string>
  readonly #owned: Database<{ row: number; status: TaskStatus }, [owner: string, ordinal: number]>
  readonly #unended: Database<Uint8Array, string>
  readonly #keys: Database<StoredKey, number>
  readonly #deliveries: Database<Delivery, string>
  readonly #meta: Database<Meta, string>

  constructor(path: string, retention: Retention) {
    this.#retention = retention
    this.#env = open({ path, maxDbs: 8, overlappingSync: false })
    const numbers = { keyEncoding: 'uint32' } as const
    this.#archive = this.#env.openDB({ name: 'archive', ...numbers })
    this.#ids = this.#env.openDB({ name: 'ids' })
    this.#owned = this.#env.openDB({ name: 'owned' })
    this.#unended = this.#env.openDB({ name: 'unended' })
    this.#keys = this.#env.openDB({ name: 'keys' })
    this.#deliveries = this.#env.openDB({ name: 'deliveries' })
    this.#meta = this.#env.openDB({ name: 'meta' })
  }

  opened(): Opened {
    return {
      unended: [...this.#unended.getRange().map(({ value }) => value)],
      keys: [...this.#keys.getRange().map(({ value }) => value)],
      deliveries: [...this.#deliveries.getRange().map(({ value }) => value)],
      nextOrdinal: this.#state.nextOrdinal,
    }
  }

  /** Those of these ids that are here, or were dropped. */
  known(ids: TaskId[]): TaskId[] {
    return ids.filter((id) => this.#ids.doesExist(id))
  }

  /** On the disk when it returns, as far as there is room; returns what retention dropped for it.
   * @throws when the disk does not take it; nothing has changed then */
  commit({ ended, unended, deliveries, delivered, nextOrdinal }: Commit, now: number): TaskId[] {
    return this.#env.transactionSync(() => {
      const meta = { ...this.#state }
      for (const task of ended) this.#add(task, meta)
      for (const task of unended) this.#addUnended(task)
      for (const delivery of deliveries) this.#deliveries.putSync(delivery.task, delivery)
      for (const id of delivered) this.#deliveries.removeSync(id)
      meta.nextOrdinal = Math.max(meta.nextOrdinal, nextOrdinal)
      const dropped = this.#dropOver(meta, now)
      this.#meta.putSync('state', meta)
      return dropped
    })
  }

  find(id: TaskId): ArchiveFound {
    const at = this.#ids.get(id)
    const row = at === undefined ? undefined : this.#archive.get(at)
    if (row === undefined) return { type: 'unknown' }
    return row.type === 'kept' ? { type: 'kept', blob: row.task.blob } : { type: 'dropped', owner: row.owner }
  }

  list(owner: string, before: number, limit: number, status: TaskStatus | null): ArchivePage {
    const blobs: Uint8Array[] = []
    const start: [string, number] = [owner, Number.isFinite(before) ? before - 1 : Number.MAX_SAFE_INTEGER]
    let next: number | null = null
    let scanned = 0
    for (const { key, value } of this.#owned.getRange({ start, end: [owner, 0], reverse: true })) {
      if (blobs.length === limit || scanned++ === MAX_SCANNED) return { blobs, next }
      next = key[1]
      if (status !== null && status !== value.status) continue
      const row = this.#archive.get(value.row)
      if (row?.type === 'kept') blobs.push(row.task.blob)
    }
    return { blobs, next: null }
  }

  /** Drops one, if it is here, and returns it. */
  remove(id: TaskId): TaskId[] {
    return this.#env.transactionSync(() => {
      const at = this.#ids.get(id)
      const row = at === undefined ? undefined : this.#archive.get(at)
      if (at === undefined || row?.type !== 'kept') return []
      const meta = { ...this.#state }
      this.#drop(at, row.task, meta)
      this.#meta.putSync('state', meta)
      return [id]
    })
  }

  /** Drops what is over the bounds and returns it, and forgets keys that have expired. */
  sweep(now: number): TaskId[] {
    return this.#env.transactionSync(() => {
      const meta = { ...this.#state }
      const dropped = this.#dropOver(meta, now)
      if (dropped.length > 0) this.#meta.putSync('state', meta)
      for (const { key, value } of [...this.#keys.getRange({ limit: MAX_SWEPT })]) {
        if (value.expiresAt > now) break
        this.#keys.removeSync(key)
      }
      return dropped
    })
  }

  close(): Promise<void> {
    return this.#env.close()
  }

  get #state(): Meta {
    return this.#meta.get('state') ?? FRESH
  }

  #add({ key, delivery, ...task }: Ended, meta: Meta): void {
    this.#unended.removeSync(task.id)
    // A start that was interrupted may have archived it before.
    if (this.#ids.doesExist(task.id)) return
    const row = meta.nextRow++
    this.#archive.putSync(row, { type: 'kept', task })
    this.#ids.putSync(task.id, row)
    this.#owned.putSync([task.owner, task.ordinal], { row, status: task.status })
    if (key) this.#keys.putSync(key.ordinal, key)
    if (delivery) this.#deliveries.putSync(task.id, delivery)
    meta.bytes += task.blob.byteLength
  }

  #addUnended({ id, blob, key }: Unended): void {
    // It may have ended meanwhile.
    if (this.#ids.doesExist(id)) return
    this.#unended.putSync(id, blob)
    if (key) this.#keys.putSync(key.ordinal, key)
  }

  #dropOver(meta: Meta, now: number): TaskId[] {
    const { retentionMs, retentionBytes } = this.#retention
    const dropped: TaskId[] = []
    while (meta.firstKept < meta.nextRow && dropped.length < MAX_SWEPT) {
      const row = this.#archive.get(meta.firstKept)
      if (row === undefined) throw new Error(`archive: row ${meta.firstKept} is missing`)
      // One that was removed is skipped.
      if (row.type === 'kept') {
        if (row.task.endedAt + retentionMs > now && meta.bytes <= retentionBytes) break
        this.#drop(meta.firstKept, row.task, meta)
        dropped.push(row.task.id)
      }
      meta.firstKept++
    }
    for (; meta.firstKept - meta.firstRow > MAX_DROPPED; meta.firstRow++) this.#forget(meta.firstRow)
    return dropped
  }

  #drop(at: number, { id, owner, ordinal, blob }: Archived, meta: Meta): void {
    this.#archive.putSync(at, { type: 'dropped', id, owner })
    this.#owned.removeSync([owner, ordinal])
    meta.bytes -= blob.byteLength
  }

  #forget(at: number): void {
    const row = this.#archive.get(at)
    this.#archive.removeSync(at)
    if (row?.type === 'dropped') this.#ids.removeSync(row.id)
  }
}
