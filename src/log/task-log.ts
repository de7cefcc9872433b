/**
 * The events of one task in memory, for any number of readers at any position.
 *
 * Token events are stretches of one text with their ends in a ring; all other events ("marks", a dozen per
 * task at most) are kept as objects. So the ring bounds how finely old tokens can be told apart, and never the
 * text: a reader at 0 gets all of it, merged. A position that the ring has overwritten is `gone`, never a
 * shorter stream.
 *
 * Appending wakes no socket: it tells each reader that it is behind, and readers pull when their sink has room.
 */
import { Entry } from '../core/entry.js'
import {
  isTerminal,
  type MarkEvent,
  type Seq,
  type TaskEvent,
  type TokenEvent,
  type TokenLogprob,
} from '../core/event.js'
import type { TaskId } from '../core/id.js'
import { Logprobs } from './logprobs.js'
import { Reader } from './reader.js'
import { Ring } from './ring.js'
import { Text } from './text.js'

/** Where a reader is: after event `seq`, said at `at`, at these ends of the text (bytes) and of the token count. */
export type Place = { seq: Seq; textEnd: number; tokenEnd: number; at: number }

/** A place that stays known when the ring has moved on: an event other than a token, or a checkpoint without one. */
export type Mark = Place & { entry: Entry | null }

export type Attach =
  | { type: 'reader'; reader: Reader }
  /** The events right after that position cannot be told apart any more; `first` is the oldest seq that can. */
  | { type: 'gone'; first: Seq }
  | { type: 'ahead'; last: Seq }

/** All that a log has, as plain data in memory of its own: what the durable copy of it is made of. */
export type LogDump = {
  /** Unix ms of the first event; 0 without one. */
  firstAt: number
  lastSeq: Seq
  tokens: number
  /** UTF-8. */
  text: Uint8Array
  /** The ring's columns, see `Ring.dump`. */
  ring: Uint32Array
  marks: (Place & { event: MarkEvent | null })[]
  logprobs: readonly TokenLogprob[] | null
}

/** A known place at least every so many events: it bounds what one merged event of a far-behind reader holds. */
const CHECKPOINT_EVENTS = 1024

export class TaskLog {
  readonly task: TaskId
  #text = new Text()
  #ring: Ring
  readonly #marks: Mark[] = []
  readonly #readers = new Set<Reader>()
  #firstAt = 0
  #tokens = 0
  // Null until there are some: for a task that did not ask they cost nothing.
  #logprobs: Logprobs | null = null
  #ended = false
  // The stretch that was merged last: readers side by side ask for the same one.
  #stretch: Entry | null = null

  constructor(task: TaskId, maxRingEvents: number) {
    this.task = task
    this.#ring = new Ring(maxRingEvents)
  }

  static restore(task: TaskId, maxRingEvents: number, dump: LogDump): TaskLog {
    const log = new TaskLog(task, maxRingEvents)
    log.#text = Text.restore(dump.text)
    log.#ring = Ring.restore(maxRingEvents, dump.lastSeq, dump.ring)
    log.#firstAt = dump.firstAt
    log.#tokens = dump.tokens
    for (const { event, ...place } of dump.marks) {
      log.#marks.push({ ...place, entry: event === null ? null : new Entry(event) })
      if (event !== null && isTerminal(event)) log.#ended = true
    }
    if (dump.logprobs !== null) {
      log.#logprobs = new Logprobs()
      log.#logprobs.append(dump.logprobs)
    }
    return log
  }

  dump(): LogDump {
    return {
      firstAt: this.#firstAt,
      lastSeq: this.lastSeq,
      tokens: this.#tokens,
      text: this.#text.dump(),
      ring: this.#ring.dump(),
      marks: this.#marks.map(({ entry, ...place }) => ({ ...place, event: eventOf(entry) })),
      logprobs: this.#logprobs?.dump() ?? null,
    }
  }

  /** Unix ms of the first token, as far as the ring still tells; null when there is none. */
  get firstTokenAt(): number | null {
    const ring = this.#ring
    if (this.#tokens === 0 || ring.tokenEnd(ring.first) > 0) return null
    return this.#firstAt + ring.at(ring.lastWithinTokens(0, ring.first, this.lastSeq) + 1)
  }

  /** The events that are not tokens, in order. */
  *markEvents(): Generator<MarkEvent> {
    for (const { entry } of this.#marks) {
      const event = eventOf(entry)
      if (event !== null) yield event
    }
  }

  get lastSeq(): Seq {
    return this.#ring.last
  }

  /** The terminal event is here. */
  get ended(): boolean {
    return this.#ended
  }

  /** The terminal event; null when it is not here yet. */
  get end(): MarkEvent | null {
    return this.#ended ? eventOf(this.#marks.at(-1)?.entry ?? null) : null
  }

  get tokens(): number {
    return this.#tokens
  }

  get readers(): number {
    return this.#readers.size
  }

  /** Bytes of memory, without readers. */
  get bytes(): number {
    return this.#text.capacity + this.#ring.capacity + this.#marks.length * 256 + (this.#logprobs?.bytes ?? 0)
  }

  get textBytes(): number {
    return this.#text.end
  }

  text(): string {
    return this.#text.slice(0, this.#text.end)
  }

  /** Adds the next event and tells the readers. Its seq must be `lastSeq + 1`: a gap is a defect, not a case. */
  append(event: TaskEvent): void {
    if (event.seq !== this.lastSeq + 1) throw new Error(`${this.task}: event ${event.seq} after ${this.lastSeq}`)
    if (this.#ended) throw new Error(`${this.task}: event ${event.seq} after the terminal event`)
    if (this.#firstAt === 0) this.#firstAt = event.at
    if (event.type === 'token') {
      if (event.logprobs?.length || this.#logprobs !== null) this.#keepLogprobs(event)
      this.#text.append(event.text)
      this.#tokens += event.tokens
    }
    // A clock that was set back must not wrap the unsigned column.
    this.#ring.append(this.#text.end, this.#tokens, Math.max(0, event.at - this.#firstAt))
    if (event.type !== 'token') this.#mark(event)
    else if (event.seq % CHECKPOINT_EVENTS === 0) this.#marks.push(this.#place(null))
    for (const reader of this.#readers) reader.wake()
  }

  /** `wake` is called on every append and must not block: it notes that the reader is behind. */
  attach(after: Seq, wake: () => void): Attach {
    if (after > this.lastSeq) return { type: 'ahead', last: this.lastSeq }
    const place = this.#find(after)
    if (place === null) return { type: 'gone', first: this.#ring.first }
    const reader = new Reader(this, place, wake)
    this.#readers.add(reader)
    return { type: 'reader', reader }
  }

  /** False when it was not attached any more. */
  detach(reader: Reader): boolean {
    const was = this.#readers.delete(reader)
    if (this.#ended && this.#readers.size === 0) this.#forgetEncodings()
    return was
  }

  /** For a reader: the first mark or checkpoint after `seq`, searched from index `from` on. */
  markAfter(seq: Seq, from: number): number {
    let index = from
    while (index < this.#marks.length && (this.#marks[index] as Mark).seq <= seq) index++
    return index
  }

  markAt(index: number): Mark | undefined {
    return this.#marks[index]
  }

  /**
   * For a reader: one token event for what was said after `place`, up to seq `last` and about `maxBytes` of text or of
   * logprobs, and the place where it ends. At least one event, however long its text.
   */
  merge(place: Place, last: Seq, maxBytes: number): { entry: Entry; place: Place } {
    const low = Math.max(place.seq + 1, this.#ring.first)
    const seq = low > last ? last : this.#lastWithin(place, low, last, maxBytes)
    const end = this.#find(seq)
    if (end === null) throw new Error(`${this.task}: seq ${seq} is neither in the ring nor a mark`)
    const known = this.#stretch?.event
    if (known?.type === 'token' && known.seq === seq && (known.from ?? known.seq) === place.seq + 1) {
      return { entry: this.#stretch as Entry, place: end }
    }
    const logprobs = this.#logprobs?.slice(place.tokenEnd, end.tokenEnd)
    const entry = new Entry({
      task: this.task,
      seq,
      at: end.at,
      type: 'token',
      text: this.#text.slice(place.textEnd, end.textEnd),
      tokens: end.tokenEnd - place.tokenEnd,
      ...(seq > place.seq + 1 ? { from: place.seq + 1 } : {}),
      ...(logprobs !== undefined && logprobs.length > 0 ? { logprobs } : {}),
    })
    this.#stretch = entry
    return { entry, place: end }
  }

  /** One for each token, from the first one on, or none at all: only then is a token's place that of its logprobs. */
  #keepLogprobs({ seq, tokens, logprobs = [] }: TokenEvent): void {
    const kept = this.#logprobs ?? new Logprobs()
    if (logprobs.length !== tokens || kept.count !== this.#tokens) {
      const before = `${kept.count} for the ${this.#tokens} before`
      throw new Error(`${this.task}: event ${seq} has ${logprobs.length} logprobs for ${tokens} tokens, ${before}`)
    }
    kept.append(logprobs)
    this.#logprobs = kept
  }

  /** How far from `place` one merged event goes: logprobs are many times as long as their text. */
  #lastWithin(place: Place, low: Seq, high: Seq, maxBytes: number): Seq {
    const last = this.#ring.lastWithin(place.textEnd + maxBytes, low, high)
    if (this.#logprobs === null) return last
    const maxTokens = Math.floor(maxBytes / this.#logprobs.jsonBytes)
    return this.#ring.lastWithinTokens(place.tokenEnd + maxTokens, low, last)
  }

  /** The next reader may never come; if it does, encoding again costs a microsecond. */
  #forgetEncodings(): void {
    this.#stretch = null
    for (const { entry } of this.#marks) entry?.forget()
  }

  #mark(event: MarkEvent): void {
    this.#marks.push(this.#place(new Entry(event)))
    if (!isTerminal(event)) return
    this.#ended = true
    this.#text.trim()
  }

  #place(entry: Entry | null): Mark {
    const at = this.#firstAt + this.#ring.at(this.lastSeq)
    return { seq: this.lastSeq, textEnd: this.#text.end, tokenEnd: this.#tokens, at, entry }
  }

  #find(seq: Seq): Place | null {
    if (seq === 0) return { seq: 0, textEnd: 0, tokenEnd: 0, at: this.#firstAt }
    const ring = this.#ring
    if (ring.has(seq)) {
      return { seq, textEnd: ring.textEnd(seq), tokenEnd: ring.tokenEnd(seq), at: this.#firstAt + ring.at(seq) }
    }
    // A mark with an entry adds no text, so it tells the place before itself as well.
    const mark = this.#marks.find((mark) => mark.seq === seq || (mark.entry && mark.seq === seq + 1))
    return mark ? { seq, textEnd: mark.textEnd, tokenEnd: mark.tokenEnd, at: mark.at } : null
  }
}

/** Of a mark; a checkpoint has none. */
// Only `#mark` and `restore` make such entries, and from a `MarkEvent`.
const eventOf = (entry: Entry | null): MarkEvent | null => (entry === null ? null : (entry.event as MarkEvent))
