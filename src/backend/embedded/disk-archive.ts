/**
 * The archive on disk, seen from the main thread: calls to the thread that has LMDB open.
 *
 * Nobody waits for what is put here, since the journal has it until then; so tasks that end within a moment of each
 * other share a transaction. One that fails is tried again until the disk takes it. Reads go to the thread, too: the
 * event loop does not search.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Delivery, DeliveryStore } from '../../core/delivery.js'
import type { TaskId } from '../../core/id.js'
import type { TaskStatus } from '../../core/task.js'
import type { Archive, ArchiveFound, ArchivePage, Ended, OnDropped, Retention } from './archive.js'
import type { Commit, Opened, Unended } from './archive-store.js'
import { insist, type OnTrouble } from './insist.js'

export type ArchiveStart = { path: string; retention: Retention }

export type ArchiveCall =
  | { op: 'open' }
  | { op: 'known'; ids: TaskId[] }
  | { op: 'commit'; commit: Commit; now: number }
  | { op: 'find'; id: TaskId }
  | { op: 'list'; owner: string; before: number; limit: number; status: TaskStatus | null }
  | { op: 'remove'; id: TaskId }
  | { op: 'sweep'; now: number }
  | { op: 'close' }

export type ArchiveReply = { number: number; value: unknown } | { number: number; error: string }

const GATHER_MS = 20

type Waiting = { resolve: (value: unknown) => void; reject: (error: Error) => void }

export class DiskArchive implements Archive, DeliveryStore {
  readonly #onTrouble: OnTrouble
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #calls = 0
  #next = emptyCommit()
  #committed: Promise<void> = Promise.resolve()
  #gathering = false
  #closing = false
  #dead: Error | null = null
  /** Ends the time to gather. */
  #hurry = new AbortController()
  #nextOrdinal = 0
  #onDropped: OnDropped = () => {}

  constructor(path: string, retention: Retention, onTrouble: OnTrouble) {
    this.#onTrouble = onTrouble
    const workerData: ArchiveStart = { path, retention }
    this.#worker = new Worker(new URL('./archive-worker.js', import.meta.url), { workerData })
    this.#worker.on('message', (reply: ArchiveReply) => this.#answered(reply))
    this.#worker.on('error', (error) => this.#lost(error))
    this.#worker.on('exit', () => this.#lost(new Error('the thread of the archive has ended')))
  }

  /** @throws when it cannot be opened */
  async open(): Promise<Opened> {
    const opened = (await this.#call({ op: 'open' })) as Opened
    this.#nextOrdinal = opened.nextOrdinal
    return opened
  }

  onDropped(listener: OnDropped): void {
    this.#onDropped = listener
  }

  /** Every ordinal that was given out is below; it is on the disk with the next transaction. */
  set nextOrdinal(ordinal: number) {
    this.#nextOrdinal = ordinal
  }

  /** Those that have been here before. */
  async known(ids: TaskId[]): Promise<Set<TaskId>> {
    return new Set((await this.#call({ op: 'known', ids })) as TaskId[])
  }

  put(ended: Ended): Promise<void> {
    this.#next.ended.push(ended)
    return this.#commitSoon()
  }

  /** A task that has not ended, to go on from here after a crash. */
  putUnended(unended: Unended): Promise<void> {
    this.#next.unended.push(unended)
    return this.#commitSoon()
  }

  putDelivery(delivery: Delivery): void {
    this.#next.deliveries.push(delivery)
    void this.#commitSoon()
  }

  removeDelivery(task: TaskId): void {
    this.#next.delivered.push(task)
    void this.#commitSoon()
  }

  async find(id: TaskId): Promise<ArchiveFound> {
    return (await this.#call({ op: 'find', id })) as ArchiveFound
  }

  async list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<ArchivePage> {
    return (await this.#call({ op: 'list', owner, before, limit, status })) as ArchivePage
  }

  remove(id: TaskId): Promise<void> {
    return this.#write({ op: 'remove', id })
  }

  async sweep(now: number): Promise<void> {
    try {
      await this.#write({ op: 'sweep', now })
    } catch (error) {
      this.#onTrouble(error as Error)
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#hurry.abort()
    await this.#committed
    await this.#call({ op: 'close' })
    await this.#worker.terminate()
  }

  /** Resolves when what is in `#next` now is on the disk. */
  #commitSoon(): Promise<void> {
    if (this.#gathering) return this.#committed
    this.#gathering = true
    this.#committed = this.#commit(this.#committed)
    return this.#committed
  }

  async #commit(before: Promise<void>): Promise<void> {
    await before
    await sleep(GATHER_MS, undefined, { signal: this.#hurry.signal }).catch(() => {})
    this.#gathering = false
    const commit = { ...this.#next, nextOrdinal: this.#nextOrdinal }
    this.#next = emptyCommit()
    await insist(
      () => this.#write({ op: 'commit', commit, now: Date.now() }),
      (error) => {
        this.#onTrouble(error)
        // Once it is closed: the journal has it all, and the next start does it again.
        return !this.#closing
      },
      this.#hurry.signal,
    )
  }

  /** @throws when the disk does not take it */
  async #write(call: ArchiveCall): Promise<void> {
    // Each that writes answers with what was dropped.
    const dropped = (await this.#call(call)) as TaskId[]
    this.#onTrouble(null)
    if (dropped.length > 0) this.#onDropped(dropped)
  }

  #call(call: ArchiveCall): Promise<unknown> {
    if (this.#dead) return Promise.reject(this.#dead)
    return new Promise((resolve, reject) => {
      const number = ++this.#calls
      this.#waiting.set(number, { resolve, reject })
      this.#worker.postMessage({ number, call })
    })
  }

  #answered(reply: ArchiveReply): void {
    const waiting = this.#waiting.get(reply.number)
    this.#waiting.delete(reply.number)
    if ('error' in reply) waiting?.reject(new Error(reply.error))
    else waiting?.resolve(reply.value)
  }

  /** Without its thread nothing is archived any more; the journal keeps what ends. */
  #lost(error: Error): void {
    this.#dead ??= error
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    if (!this.#closing) this.#onTrouble(error)
  }
}

const emptyCommit = (): Commit => ({ ended: [], unended: [], deliveries: [], delivered: [], nextOrdinal: 0 })
