/**
 * The backend of one process with nothing to install: queues, idempotency keys and fences in memory, and behind them,
 * unless nothing is to last, a journal of all that is accepted and said and an archive of what has ended.
 *
 * What was said is in exactly one of the two after a crash: the journal keeps a task's words until the archive has its
 * whole log. In memory, ended tasks are archived, too, and everything ends with the process.
 */
import { type Delivery, type DeliveryStore, deliveryOf } from '../../core/delivery.js'
import type { CanceledBy, TaskEvent } from '../../core/event.js'
import type { TaskId } from '../../core/id.js'
import type { Idempotency, Task, TaskStatus } from '../../core/task.js'
import type {
  Backend,
  Canceling,
  Enqueued,
  Flush,
  Found,
  Full,
  Kept,
  Known,
  Page,
  QueueView,
  Recovered,
} from '../backend.js'
import type { Archive, Ended, Retention } from './archive.js'
import { Disk, type DiskOptions, type Words } from './disk.js'
import { packKept, unpackKept } from './kept.js'
import { Keys, keyOf } from './keys.js'
import { MemoryArchive } from './memory-archive.js'
import { Queue } from './queue.js'

export type EmbeddedOptions = Retention & {
  /** Tasks that wait, of all models. */
  maxQueue: number
  /** Bytes of the requests that wait. */
  maxQueueBytes: number
  maxIdempotencyKeys: number
  maxRingEvents: number
}

/** What a start finds. */
export type Opened = {
  backend: EmbeddedBackend
  /**
   * In the order of acceptance, what had not ended: what had started is ours, the rest waits in its queue again. And what
   * had, but is not in the archive: it is to be archived, and found meanwhile.
   */
  recovered: Recovered[]
  /** Webhooks that were not delivered. */
  deliveries: Delivery[]
  nextOrdinal: number
}

type Waiter = { max: number; give: (tasks: Task[]) => void }

/** `attempt` is the newest that wrote: 0 while it waits. */
type Hold = { task: Task; attempt: number; waiting: boolean }

export class EmbeddedBackend implements Backend, QueueView {
  readonly #options: EmbeddedOptions
  readonly #queues = new Map<string, Queue>()
  readonly #waiters = new Map<string, Waiter[]>()
  readonly #holds = new Map<TaskId, Hold>()
  readonly #keys: Keys
  readonly #archive: Archive
  readonly #disk: Disk | null
  /** Tasks that are on their way into the journal; false when it did not take them. */
  readonly #accepting = new Map<TaskId, Promise<boolean>>()
  #depth = 0
  #bytes = 0
  #closed: Promise<void> | null = null
  #onCancel: (id: TaskId, by: CanceledBy) => void = () => {}

  /** Without a disk everything ends with the process. */
  constructor(options: EmbeddedOptions, disk: Disk | null = null) {
    this.#options = options
    this.#keys = new Keys(options.maxIdempotencyKeys)
    this.#disk = disk
    this.#archive = disk?.archive ?? new MemoryArchive(options)
  }

  /** On disk, with what is there from before.
   * @throws Error with one line for the user: the directory cannot be had or written, or what it holds is damaged */
  static async open(options: EmbeddedOptions, diskOptions: DiskOptions): Promise<Opened> {
    const { disk, recovered, keys, deliveries, nextOrdinal } = await Disk.open(
      diskOptions,
      options,
      options.maxRingEvents,
    )
    const backend = new EmbeddedBackend(options, disk)
    for (const key of keys) backend.#keys.add(key)
    for (const task of recovered) if (!task.log.ended) backend.#restore(task)
    return { backend, recovered, deliveries, nextOrdinal }
  }

  get durable(): boolean {
    return this.#disk !== null
  }

  get deliveries(): DeliveryStore {
    return this.#disk?.archive ?? NOTHING_KEPT
  }

  get depth(): number {
    return this.#depth
  }

  async known(owner: string, idempotency: Idempotency): Promise<Known | null> {
    const known = this.#known(owner, idempotency)
    return known && (await this.#sure(known))
  }

  // No await before all is noted: of two requests with one key only the first may be new.
  async enqueue(task: Task, first: TaskEvent): Promise<Enqueued> {
    const key = keyOf(task)
    if (task.idempotency !== null) {
      const known = this.#known(task.owner, task.idempotency)
      // What the key made may fail to be accepted: then it is new after all.
      if (known) return (await this.#sure(known)) ?? this.enqueue(task, first)
      if (this.#keys.full) return { type: 'full', bound: 'keys', max: this.#options.maxIdempotencyKeys }
    }
    const full = this.full(1, task.bytes)
    if (full) return full
    if (key) this.#keys.add(key)
    this.#depth++
    this.#bytes += task.bytes
    const accepted = this.#disk?.accept(task, first) ?? Promise.resolve(true)
    this.#accepting.set(task.id, accepted)
    if (await accepted) {
      this.#wait(task)
      this.#serve(task.model)
    } else {
      if (key) this.#keys.remove(key)
      this.#depth--
      this.#bytes -= task.bytes
    }
    this.#accepting.delete(task.id)
    return (await accepted) ? { type: 'queued' } : { type: 'full', bound: 'storage', max: 0 }
  }

  take(model: string, max: number, signal: AbortSignal): Promise<Task[]> {
    if (signal.aborted) return Promise.resolve([])
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(model) ?? []
      this.#waiters.set(model, waiters)
      const waiter: Waiter = {
        max,
        give: (tasks) => {
          signal.removeEventListener('abort', abort)
          resolve(tasks)
        },
      }
      const abort = (): void => {
        waiters.splice(waiters.indexOf(waiter), 1)
        resolve([])
      }
      signal.addEventListener('abort', abort, { once: true })
      waiters.push(waiter)
      this.#serve(model)
    })
  }

  append(flushes: Flush[]): Promise<TaskId[]> {
    const stale: TaskId[] = []
    const words: Words[] = []
    for (const flush of flushes) {
      const hold = this.#holds.get(flush.id)
      if (!hold || flush.attempt < hold.attempt) {
        stale.push(flush.id)
        continue
      }
      hold.attempt = flush.attempt
      words.push({ ordinal: hold.task.ordinal, flush })
      if (flush.log.closed && flush.to === flush.log.addedSeq) this.#holds.delete(flush.id)
    }
    if (!this.#disk || words.length === 0) return Promise.resolve(stale)
    return this.#disk.append(words).then(() => stale)
  }

  room(): Promise<void> {
    return this.#disk?.room() ?? Promise.resolve()
  }

  async cancel(id: TaskId, by: CanceledBy): Promise<Canceling> {
    const hold = this.#holds.get(id)
    if (!hold) return 'unknown'
    if (hold.waiting) {
      this.#queue(hold.task.model).remove(hold.task)
      this.#leave(hold)
      return 'taken'
    }
    this.#onCancel(id, by)
    await this.#disk?.cancel(hold.task, by)
    return 'sent'
  }

  onCancel(listener: (id: TaskId, by: CanceledBy) => void): void {
    this.#onCancel = listener
  }

  async archive({ task, log }: Kept): Promise<void> {
    const { id, owner, ordinal } = task
    const { end } = log
    if (end === null) throw new Error(`${id} is archived and has not ended`)
    const ended: Ended = {
      id,
      owner,
      ordinal,
      // A terminal event's type is the status that follows from it.
      status: end.type as TaskStatus,
      endedAt: end.at,
      blob: packKept({ task, log }),
      key: keyOf(task),
      delivery: deliveryOf(task, end),
    }
    await this.#archive.put(ended)
    this.#disk?.archived(id)
  }

  async find(id: TaskId): Promise<Found> {
    const found = await this.#archive.find(id)
    return found.type === 'kept' ? { type: 'kept', kept: this.#unpack(found.blob) } : found
  }

  remove(id: TaskId): Promise<void> {
    return this.#archive.remove(id)
  }

  async list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<Page> {
    const { blobs, next } = await this.#archive.list(owner, before, limit, status)
    return { kept: blobs.map((blob) => this.#unpack(blob)), next }
  }

  sweep(now: number): Promise<void> {
    return this.#archive.sweep(now)
  }

  onDropped(listener: (ids: TaskId[]) => void): void {
    this.#archive.onDropped(listener)
  }

  onCheckpoint(listener: (id: TaskId) => Recovered | null): void {
    this.#disk?.onCheckpoint(listener)
  }

  full(tasks: number, bytes: number): Full | null {
    const { maxQueue, maxQueueBytes } = this.#options
    if (this.#disk?.trouble) return { type: 'full', bound: 'storage', max: 0 }
    if (this.#depth + tasks > maxQueue) return { type: 'full', bound: 'queue', max: maxQueue }
    if (this.#bytes + bytes > maxQueueBytes) return { type: 'full', bound: 'bytes', max: maxQueueBytes }
    return null
  }

  position(id: TaskId): number | null {
    const hold = this.#holds.get(id)
    return hold?.waiting ? this.#queue(hold.task.model).position(hold.task) : null
  }

  ahead(model: string, priority: number): number {
    return this.#queue(model).ahead(priority)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters.splice(0)) waiter.give([])
    await (this.#disk ?? this.#archive).close()
  }

  #known(owner: string, { key, bodyHash }: Idempotency): Known | null {
    const known = this.#keys.find(owner, key)
    if (!known) return null
    return known.bodyHash === bodyHash ? { type: 'replay', id: known.id } : { type: 'conflict' }
  }

  /** Null when what the key made was not accepted in the end. */
  async #sure(known: Known): Promise<Known | null> {
    if (known.type !== 'replay') return known
    const accepted = await (this.#accepting.get(known.id) ?? true)
    return accepted ? known : null
  }

  #wait(task: Task): void {
    this.#holds.set(task.id, { task, attempt: 0, waiting: true })
    this.#queue(task.model).add(task)
  }

  #restore({ task, log, canceledBy }: Recovered): void {
    const attempt = attemptOf(log)
    if (attempt > 0 || canceledBy !== null) {
      this.#holds.set(task.id, { task, attempt, waiting: false })
      return
    }
    this.#depth++
    this.#bytes += task.bytes
    this.#wait(task)
  }

  #unpack(blob: Uint8Array): Kept {
    return unpackKept(blob, this.#options.maxRingEvents)
  }

  #serve(model: string): void {
    const waiters = this.#waiters.get(model)
    const queue = this.#queue(model)
    while (queue.size > 0 && waiters !== undefined && waiters.length > 0) {
      const waiter = waiters.shift() as Waiter
      const tasks = queue.take(waiter.max)
      for (const { id } of tasks) this.#leave(this.#holds.get(id) as Hold)
      waiter.give(tasks)
    }
  }

  #leave(hold: Hold): void {
    hold.waiting = false
    this.#depth--
    this.#bytes -= hold.task.bytes
  }

  #queue(model: string): Queue {
    const known = this.#queues.get(model)
    if (known) return known
    const queue = new Queue()
    this.#queues.set(model, queue)
    return queue
  }
}

/** In memory. */
const NOTHING_KEPT: DeliveryStore = { putDelivery: () => {}, removeDelivery: () => {} }

/** The newest that the log tells of; 0 for a task that has not started. */
function attemptOf(log: Kept['log']): number {
  let attempt = 0
  for (const event of log.markEvents())
    if (event.type === 'started' || event.type === 'retrying') attempt = event.attempt
  return attempt
}
