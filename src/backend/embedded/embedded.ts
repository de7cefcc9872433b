/**
 * The backend of one process with nothing to install. In memory: it ends with the process.
 *
 * It keeps the queues, the idempotency keys and who may write; what tasks said is kept by their logs, so an
 * append here only checks the fence. A journal makes the same promises across a crash.
 */
import { type CanceledBy, isTerminal } from '../../core/event.js'
import type { TaskId } from '../../core/id.js'
import type { Idempotency, Task } from '../../core/task.js'
import type { Backend, Canceling, Enqueued, Flush, Full, Known, QueueView } from '../backend.js'
import { Keys } from './keys.js'
import { Queue } from './queue.js'

export type EmbeddedOptions = {
  /** Tasks that wait, of all models. */
  maxQueue: number
  /** Bytes of the requests that wait. */
  maxQueueBytes: number
  maxIdempotencyKeys: number
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
  #depth = 0
  #bytes = 0
  #onCancel: (id: TaskId, by: CanceledBy) => void = () => {}

  constructor(options: EmbeddedOptions) {
    this.#options = options
    this.#keys = new Keys(options.maxIdempotencyKeys)
  }

  get depth(): number {
    return this.#depth
  }

  async known(owner: string, idempotency: Idempotency): Promise<Known | null> {
    return this.#known(owner, idempotency)
  }

  // No await before all is noted: of two requests with one key only the first may be new.
  async enqueue(task: Task): Promise<Enqueued> {
    if (task.idempotency !== null) {
      const known = this.#known(task.owner, task.idempotency)
      if (known) return known
      if (this.#keys.full) return { type: 'full', bound: 'keys', max: this.#options.maxIdempotencyKeys }
    }
    const full = this.full(1, task.bytes)
    if (full) return full
    this.#keys.add(task)
    this.#holds.set(task.id, { task, attempt: 0, waiting: true })
    this.#depth++
    this.#bytes += task.bytes
    this.#queue(task.model).add(task)
    this.#serve(task.model)
    return { type: 'queued' }
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

  async append(flushes: Flush[]): Promise<TaskId[]> {
    const stale: TaskId[] = []
    for (const { id, attempt, events } of flushes) {
      const hold = this.#holds.get(id)
      if (!hold || attempt < hold.attempt) {
        stale.push(id)
        continue
      }
      hold.attempt = attempt
      const last = events.at(-1)
      if (last && isTerminal(last)) this.#holds.delete(id)
    }
    return stale
  }

  async cancel(id: TaskId, by: CanceledBy): Promise<Canceling> {
    const hold = this.#holds.get(id)
    if (!hold) return 'unknown'
    if (!hold.waiting) {
      this.#onCancel(id, by)
      return 'sent'
    }
    this.#queue(hold.task.model).remove(hold.task)
    this.#leave(hold)
    return 'taken'
  }

  onCancel(listener: (id: TaskId, by: CanceledBy) => void): void {
    this.#onCancel = listener
  }

  full(tasks: number, bytes: number): Full | null {
    const { maxQueue, maxQueueBytes } = this.#options
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

  async close(): Promise<void> {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters.splice(0)) waiter.give([])
  }

  #known(owner: string, { key, bodyHash }: Idempotency): Known | null {
    const known = this.#keys.find(owner, key)
    if (!known) return null
    return known.bodyHash === bodyHash ? { type: 'replay', id: known.id } : { type: 'conflict' }
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
