/**
 * One reader of a task, over any number of connections: a position that goes on by one event after the other, and by
 * nothing else. What the event says is the task's ledger's matter.
 */
import { isTerminal, type Seq, type TaskEvent } from '../../src/core/event.js'
import type { Place, TaskLedger } from './ledger.js'
import type { Kind } from './violations.js'

export class ReaderLedger {
  readonly name: string
  readonly task: TaskLedger
  /** The seq seen last, with which it comes back. */
  position: Seq
  /** It saw the terminal event. */
  ended = false
  #place: Place

  constructor(task: TaskLedger, name: string, after: Seq) {
    this.task = task
    this.name = name
    this.position = after
    this.#place = task.placeAt(after) ?? NOWHERE
  }

  violation(kind: Kind, what: string): void {
    this.task.violation(kind, what, this.name)
  }

  refused(kind: Kind, what: string): void {
    this.task.refused(kind, what, this.name)
  }

  take(event: TaskEvent): void {
    const { seq } = event
    const from = event.type === 'token' ? (event.from ?? seq) : seq
    const fault = this.#fault(event, from)
    if (fault !== null) {
      this.violation(fault.kind, fault.what)
      return
    }
    const known = from === this.position + 1
    if (from <= this.position) {
      this.violation('repeated', `event ${from}-${seq} (${event.type}) after position ${this.position}`)
    } else if (!known) {
      const last = from - 1
      this.violation('lost', `events ${this.position + 1}-${last}: after ${this.position} came ${from} (${event.type})`)
    }
    const at = known ? this.#place : (this.task.placeAt(from - 1) ?? NOWHERE)
    const place = this.task.show(event, from, at, this.name)
    if (seq < this.position) return
    this.position = seq
    this.#place = place
    this.ended = isTerminal(event)
  }

  /** Why an event cannot be placed at all. */
  #fault(event: TaskEvent, from: Seq): { kind: Kind; what: string } | null {
    if (event.task !== this.task.task) return { kind: 'form', what: `an event of ${event.task}` }
    if (!isWellFormed(event, from)) return { kind: 'form', what: `no event: ${JSON.stringify(event).slice(0, 200)}` }
    if (!this.ended) return null
    return { kind: 'end', what: `event ${from}-${event.seq} (${event.type}) after the terminal event` }
  }
}

/** Of a reader that does not know where in the text it is: it has missed something. */
const NOWHERE: Place = { text: Number.NaN, tokens: Number.NaN }

function isWellFormed(event: TaskEvent, from: Seq): boolean {
  const { seq, type, at } = event
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(from) || typeof type !== 'string') return false
  if (from < 1 || from > seq || typeof at !== 'number') return false
  // Absent when the event stands for itself only.
  return event.type !== 'token' || (typeof event.text === 'string' && event.tokens >= 0 && event.from !== seq)
}
