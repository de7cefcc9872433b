/**
 * The events of one task in memory, for any number of readers at any position.
 *
 * Token events are stretches of one text with their ends in a ring; all other events ("marks", a dozen per
 * task at most) are kept as objects. So the ring bounds how finely old tokens can be told apart, and never the
 * text: a reader at 0 gets all of it, merged. A position that the ring has overwritten is `gone`, never a
 * shorter stream.
 *
 * What is added is not visible yet: it is recorded first, from here, and then shown. So nothing else has to hold it
 * meanwhile. Showing wakes no socket: it tells each reader that it is behind, and readers pull when their sink has room.
 */
import { Entry } from '../core/entry.js'
import {
  isTerminal,
  type MarkEvent,
  type Seq,
  type TaskEvent,
  type TerminalEvent,
  type TokenEvent,
  type TokenLogprob,
} from '../core/event.js'
import type { TaskId } from '../core/id.js'
import { Logprobs } from './logprobs.js'
import { Reader } from './reader.js'
import { Ring } from './ring.js'
import { Text } from './text.js'

/** After event `seq`, at these ends of the text (bytes) and of the token count. */
export type Place = { seq: Seq; textEnd: number; tokenEnd: number }

/** A place, said at `at`, that stays known when the ring has moved on: an event other than a token, or a checkpoint without one. */
export type Mark = Place & { at: number; entry: Entry | null }

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
  marks: (Place & { at: number; event: MarkEvent | null })[]
  logprobs: readonly TokenLogprob[] | null
}

/** Who is shown what was added, event by event. */
export interface LogVisitor {
  /** Its text lies between two offsets (bytes) of `text`. `at`: unix ms. */
  token(at: number, tokens: number, text: Text, from: number, to: number): void
  event(event: TaskEvent): void
}

/** A known place at least every so many events: it bounds what one merged event of a far-behind reader holds. */
const CHECKPOINT_EVENTS = 1024

export class TaskLog {
  readonly task: TaskId
  #text = new Text()
  #ring: Ring
  readonly #marks: Mark[] = []
  readonly #readers: Reader[] = []
  /** What readers see ends here. */
  #shown: Seq = 0
  #firstAt = 0
  #tokens = 0
  // Null until there are some: for a task that did not ask they cost nothing.
  #logprobs: Logprobs | null = null
  #closed = false
  // The stretch that was merged last: readers side by side ask for the same one.
  #stretch: Entry | null = null

  constructor(task: TaskId, maxRingEvents: number) {
    this.task = task
    this.#ring = new Ring(maxRingEvents)
    this.#ring.keepFrom(0)
  }

  static restore(task: TaskId, maxRingEvents: number, dump: LogDump): TaskLog {
    const log = new TaskLog(task, maxRingEvents)
    log.#text = Text.restore(dump.text)
    log.#ring = Ring.restore(maxRingEvents, dump.lastSeq, dump.ring)
    log.#ring.keepFrom(dump.lastSeq)
    log.#shown = dump.lastSeq
    log.#firstAt = dump.firstAt
    log.#tokens = dump.tokens
    for (const { event, ...place } of dump.marks) {
      log.#marks.push({ ...place, entry: event === null ? null : new Entry(event) })
      if (event !== null && isTerminal(event)) log.#closed = true
    }
    if (dump.logprobs !== null) {
      log.#logprobs = new Logprobs()
      log.#logprobs.append(dump.logprobs)
    }
    return log
  }

  /** Of what is not visible yet, too. */
  dump(): LogDump {
    return {
      firstAt: this.#firstAt,
      lastSeq: this.addedSeq,
      tokens: this.#tokens,
      text: this.#text.dump(),
      ring: this.#ring.dump(),
      marks: this.#marks.map(({ entry, ...place }) => ({ ...place, event: eventOf(entry) })),
      logprobs: this.#logprobs?.dump() ?? null,
    }
  }

  /** Of the tokens that readers see; null where none were asked for. */
  logprobs(): readonly TokenLogprob[] | null {
    return this.#logprobs?.slice(0, this.tokens) ?? null
  }

  /** Unix ms of the first token, as far as the ring still tells; null when there is none. */
  get firstTokenAt(): number | null {
    const ring = this.#ring
    if (this.tokens === 0 || ring.tokenEnd(ring.first) > 0) return null
    return this.#firstAt + ring.at(ring.lastWithinTokens(0, ring.first, this.lastSeq) + 1)
  }

  /** The visible events that are not tokens, in order. */
  *markEvents(): Generator<MarkEvent> {
    for (const { entry, seq } of this.#marks) {
      const event = eventOf(entry)
      if (event !== null && seq <= this.#shown) yield event
    }
  }

  /** The last one that readers see. */
  get lastSeq(): Seq {
    return this.#shown
  }

  /** The last one there is. */
  get addedSeq(): Seq {
    return this.#ring.last
  }

  /** The terminal event is here, visible or not. */
  get closed(): boolean {
    return this.#closed
  }

  /** The terminal event is visible. */
  get ended(): boolean {
    return this.#closed && this.#shown === this.#ring.last
  }

  /** The terminal event; null when it is not visible yet. */
  get end(): TerminalEvent | null {
    // What closes a log is a terminal event.
    return this.ended ? (eventOf(this.#marks.at(-1)?.entry ?? null) as TerminalEvent) : null
  }

  /** Of visible events. */
  get tokens(): number {
    return this.#shown === 0 ? 0 : this.#ring.tokenEnd(this.#shown)
  }

  get readers(): number {
    return this.#readers.length
  }

  /** Bytes of memory, without readers. */
  get bytes(): number {
    return this.#text.capacity + this.#ring.capacity + this.#marks.length * 256 + (this.#logprobs?.bytes ?? 0)
  }

  /** Of visible events. */
  get textBytes(): number {
    return this.#shown === 0 ? 0 : this.#ring.textEnd(this.#shown)
  }

  /** Of visible events. */
  text(): string {
    return this.#text.slice(0, this.textBytes)
  }

  /** Adds the next event. Its seq must be `addedSeq + 1`: a gap is a defect, not a case. */
  add(event: TaskEvent): void {
    if (event.seq !== this.addedSeq + 1) throw new Error(`${this.task}: event ${event.seq} after ${this.addedSeq}`)
    if (event.type === 'token') {
      this.addToken(event.text, event.tokens, event.at, event.logprobs)
      return
    }
    this.#checkOpen()
    this.#end(event.at)
    this.#mark(new Entry(event))
    if (!isTerminal(event)) return
    this.#closed = true
    this.#text.trim()
  }

  /** As `add`, for nearly all events there are: without an object for each. */
  addToken(text: string, tokens: number, at: number, logprobs?: readonly TokenLogprob[]): void {
    this.#checkOpen()
    if (logprobs?.length || this.#logprobs !== null) this.#keepLogprobs(tokens, logprobs)
    this.#text.append(text)
    this.#tokens += tokens
    this.#end(at)
    if (this.addedSeq % CHECKPOINT_EVENTS === 0) this.#mark(null)
  }

  /** What was added up to `seq` is recorded: tells the readers. */
  show(seq: Seq): void {
    if (seq <= this.#shown) return
    this.#shown = seq
    this.#ring.keepFrom(seq)
    // Backwards: one that leaves meanwhile gives its place to the last one.
    for (let i = this.#readers.length - 1; i >= 0; i--) this.#readers[i]?.wake()
  }

  /** Adds and shows. */
  append(event: TaskEvent): void {
    this.add(event)
    this.show(event.seq)
  }

  /** One event as it was said, as long as the ring or a mark tells; visible or not. */
  eventAt(seq: Seq): TaskEvent {
    const mark = this.#marks[this.#firstMarkAfter(seq - 1)]
    if (mark?.seq === seq && mark.entry !== null) return mark.entry.event
    return this.#token(seq, seq, this.#placeAt(seq - 1), this.#placeAt(seq))
  }

  /**
   * Visits the events after `from` up to `to`, visible or not, in order: tokens by what is known of each, others, and
   * tokens with logprobs, as events.
   */
  visit(from: Seq, to: Seq, visitor: LogVisitor): void {
    const ring = this.#ring
    let index = this.#firstMarkAfter(from)
    let textEnd = from === 0 ? 0 : ring.textEnd(from)
    let tokenEnd = from === 0 ? 0 : ring.tokenEnd(from)
    for (let seq = from + 1; seq <= to; seq++) {
      const mark = this.#marks[index]
      const isMark = mark?.seq === seq
      if (isMark) index++
      const [text, tokens] = [ring.textEnd(seq), ring.tokenEnd(seq)]
      if (isMark && mark.entry !== null) visitor.event(mark.entry.event)
      else if (this.#logprobs !== null) visitor.event(this.eventAt(seq))
      else visitor.token(this.#firstAt + ring.at(seq), tokens - tokenEnd, this.#text, textEnd, text)
      textEnd = text
      tokenEnd = tokens
    }
  }

  /** `wake` is called whenever something is shown and must not block: it notes that the reader is behind. */
  attach(after: Seq, wake: () => void): Attach {
    if (after > this.lastSeq) return { type: 'ahead', last: this.lastSeq }
    const place = this.#find(after)
    if (place === null) return { type: 'gone', first: this.#ring.first }
    const reader = new Reader(this, place, wake)
    reader.index = this.#readers.length
    this.#readers.push(reader)
    return { type: 'reader', reader }
  }

  /** False when it was not attached any more. */
  detach(reader: Reader): boolean {
    const { index } = reader
    if (this.#readers[index] !== reader) return false
    const last = this.#readers.pop() as Reader
    if (last !== reader) {
      this.#readers[index] = last
      last.index = index
    }
    if (this.ended && this.#readers.length === 0) this.#forgetEncodings()
    return true
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
   * logprobs; `place` is moved to its end. At least one event, however long its text.
   */
  merge(place: Place, last: Seq, maxBytes: number): Entry {
    const low = Math.max(place.seq + 1, this.#ring.first)
    const seq = low >= last ? last : this.#lastWithin(place, low, last, maxBytes)
    const from = place.seq + 1
    const end = this.#placeAt(seq)
    const known = this.#stretch?.event
    const stretch =
      known?.type === 'token' && known.seq === seq && (known.from ?? seq) === from
        ? (this.#stretch as Entry)
        : new Entry(this.#token(from, seq, place, end))
    this.#stretch = stretch
    place.seq = seq
    place.textEnd = end.textEnd
    place.tokenEnd = end.tokenEnd
    return stretch
  }

  #token(from: Seq, seq: Seq, start: Place, { textEnd, tokenEnd, at }: Place & { at: number }): TokenEvent {
    const event: TokenEvent = {
      task: this.task,
      seq,
      at,
      type: 'token',
      text: this.#text.slice(start.textEnd, textEnd),
      tokens: tokenEnd - start.tokenEnd,
    }
    if (from < seq) event.from = from
    const logprobs = this.#logprobs?.slice(start.tokenEnd, tokenEnd)
    if (logprobs !== undefined && logprobs.length > 0) event.logprobs = logprobs
    return event
  }

  /** One for each token, from the first one on, or none at all: only then is a token's place that of its logprobs. */
  #keepLogprobs(tokens: number, logprobs: readonly TokenLogprob[] = []): void {
    const kept = this.#logprobs ?? new Logprobs()
    if (logprobs.length !== tokens || kept.count !== this.#tokens) {
      const before = `${kept.count} for the ${this.#tokens} before`
      throw new Error(
        `${this.task}: event ${this.addedSeq + 1} has ${logprobs.length} logprobs for ${tokens} tokens, ${before}`,
      )
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

  #checkOpen(): void {
    if (this.#closed) throw new Error(`${this.task}: event ${this.addedSeq + 1} after the terminal event`)
  }

  /** The next event ends where the text does now. */
  #end(at: number): void {
    if (this.#firstAt === 0) this.#firstAt = at
    // A clock that was set back must not wrap the unsigned column.
    this.#ring.append(this.#text.end, this.#tokens, Math.max(0, at - this.#firstAt))
  }

  /** The newest place stays known. */
  #mark(entry: Entry | null): void {
    this.#marks.push({ ...this.#placeAt(this.addedSeq), entry })
  }

  #find(seq: Seq): (Place & { at: number }) | null {
    if (seq === 0) return { seq: 0, textEnd: 0, tokenEnd: 0, at: this.#firstAt }
    const ring = this.#ring
    if (ring.has(seq)) {
      return { seq, textEnd: ring.textEnd(seq), tokenEnd: ring.tokenEnd(seq), at: this.#firstAt + ring.at(seq) }
    }
    // A mark with an entry adds no text, so it tells the place before itself as well.
    const mark = this.#marks.find((mark) => mark.seq === seq || (mark.entry && mark.seq === seq + 1))
    return mark ? { seq, textEnd: mark.textEnd, tokenEnd: mark.tokenEnd, at: mark.at } : null
  }

  /** @throws where `#find` knows no such place */
  #placeAt(seq: Seq): Place & { at: number } {
    const place = this.#find(seq)
    if (place === null) throw new Error(`${this.task}: seq ${seq} is neither in the ring nor a mark`)
    return place
  }

  /** The index of the first mark after `seq`, which is among the last ones. */
  #firstMarkAfter(seq: Seq): number {
    let index = this.#marks.length
    while (index > 0 && (this.#marks[index - 1] as Mark).seq > seq) index--
    return index
  }
}

/** Of a mark; a checkpoint has none. */
// Only `#mark` and `restore` make such entries, and from a `MarkEvent`.
const eventOf = (entry: Entry | null): MarkEvent | null => (entry === null ? null : (entry.event as MarkEvent))
