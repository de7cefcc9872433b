/**
 * Tasks that end when nobody reads them: `on_disconnect: "cancel"` and `{"cancel_after_ms": n}`.
 *
 * Who reads is looked at when a turn of the event loop is over and by what is then, so a reader that takes another
 * one's place in the same turn leaves no gap. Whoever came in that turn has read, however short the visit: a long poll
 * that finds something new is over at once, and its client is still there. A task without a reader has one timer.
 *
 * The maker of a `cancel` task often makes it with one request and reads with another, so its time begins when the
 * first reader has gone.
 */
import type { TaskId } from '../core/id.js'
import type { TaskRecord } from './record.js'

/** After a restart: the readers did not leave, we cut them, and they need time to find us again. */
const RESTART_GRACE_MS = 30_000

export class Unread {
  readonly #graceMs: number
  readonly #cancel: (record: TaskRecord) => void
  readonly #timers = new Map<TaskId, NodeJS.Timeout>()
  /** Tasks whose readers came or left in this turn of the event loop. */
  readonly #changed = new Set<TaskRecord>()
  #closed = false

  /** @param graceMs for the next reader of a `cancel` task, after the last one left
   * @param cancel called once for a task, which has not ended */
  constructor(graceMs: number, cancel: (record: TaskRecord) => void) {
    this.#graceMs = graceMs
    this.#cancel = cancel
  }

  accepted(record: TaskRecord): void {
    const { onDisconnect } = record.task.spec
    if (onDisconnect.type === 'cancel' && onDisconnect.afterMs !== null) this.#count(record, onDisconnect.afterMs)
  }

  /** The task was there before this process: its readers get their time anew. */
  restored(record: TaskRecord): void {
    const { onDisconnect } = record.task.spec
    if (onDisconnect.type !== 'cancel') return
    this.#count(record, onDisconnect.afterMs ?? Math.max(RESTART_GRACE_MS, this.#graceMs))
  }

  /** A reader has come to the task or has left it. */
  readersChanged(record: TaskRecord): void {
    if (this.#closed || record.task.spec.onDisconnect.type !== 'cancel' || record.state.ended) return
    if (this.#changed.size === 0) setImmediate(() => this.#look())
    this.#changed.add(record)
  }

  ended({ task }: TaskRecord): void {
    this.#stop(task.id)
  }

  /** Nothing is canceled any more: from now on it is the gateway that readers leave, not the task. */
  close(): void {
    this.#closed = true
    this.#changed.clear()
    for (const id of this.#timers.keys()) this.#stop(id)
  }

  #look(): void {
    for (const record of this.#changed) {
      const { onDisconnect } = record.task.spec
      this.#stop(record.task.id)
      if (onDisconnect.type === 'cancel') this.#count(record, onDisconnect.afterMs ?? this.#graceMs)
    }
    this.#changed.clear()
  }

  #count(record: TaskRecord, ms: number): void {
    if (this.#closed || record.state.ended || record.log.readers > 0) return
    const { id } = record.task
    const timer = setTimeout(() => {
      this.#timers.delete(id)
      // Somebody came in this very turn, and is looked at when it is over.
      if (!this.#changed.has(record)) this.#cancel(record)
    }, ms)
    this.#timers.set(id, timer)
  }

  #stop(id: TaskId): void {
    clearTimeout(this.#timers.get(id))
    this.#timers.delete(id)
  }
}
