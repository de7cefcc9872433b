/**
 * One record of the journal: what was said in one group of appends, of many tasks, as bytes.
 *
 * A task is named by its ordinal. Token events, nearly all there are, are written field by field into one buffer that
 * is used again and again, their text copied from the log: no object and no buffer of its own per event. All else is msgpack. Numbers are little-endian.
 */
import type { CanceledBy, EventBody, Seq, TaskEvent } from '../../core/event.js'
import type { Task } from '../../core/task.js'
import type { LogVisitor, TaskLog } from '../../log/task-log.js'
import type { Text } from '../../log/text.js'
import { pack, unpackOwn } from '../../wire/msgpack.js'
import { type PlainTask, plainTask, taskOf } from './kept.js'

/** An event without the name of its task. */
export type SaidEvent = { seq: Seq; at: number } & EventBody

export type JournalEntry =
  /** It was accepted; `first` is its first event. */
  | { type: 'task'; task: Task; first: TaskEvent }
  /** It said this, in this attempt; `ids` are those of all tokens in `events`. */
  | { type: 'words'; ordinal: number; attempt: number; events: SaidEvent[]; ids: number[] }
  /** Somebody asked for its end while it ran. */
  | { type: 'cancel'; ordinal: number; by: CanceledBy }

/** Of a log, the events after `from` up to `to`. */
type Words = { attempt: number; log: TaskLog; from: Seq; to: Seq; ids: readonly number[] }

const KIND = { task: 1, words: 2, cancel: 3 } as const
const BODY = { token: 0, other: 1 } as const

const FIRST_BYTES = 65_536
/** Of an entry of words, and of one event, without text. */
const WORDS_BYTES = 40
const EVENT_BYTES = 32

export class RecordWriter implements LogVisitor {
  readonly #headerBytes: number
  #buffer: Buffer
  #view: DataView
  #end: number

  /** The first `headerBytes` are left to the caller. */
  constructor(headerBytes: number) {
    this.#headerBytes = headerBytes
    this.#end = headerBytes
    this.#buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
    this.#view = viewOf(this.#buffer)
  }

  get empty(): boolean {
    return this.#end === this.#headerBytes
  }

  get end(): number {
    return this.#end
  }

  /** Header and entries; valid until the next write. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#end)
  }

  clear(): void {
    this.#end = this.#headerBytes
    // One huge prompt must not keep its memory for ever.
    if (this.#buffer.length > 16 * FIRST_BYTES) this.#resize(FIRST_BYTES)
  }

  /** Takes back the entries that were written from offset `from` to `to`. */
  cut(from: number, to: number): void {
    this.#buffer.copyWithin(from, to, this.#end)
    this.#end -= to - from
  }

  task(task: Task, first: TaskEvent): void {
    this.#packed(KIND.task, [plainTask(task), first])
  }

  cancel(ordinal: number, by: CanceledBy): void {
    this.#packed(KIND.cancel, [ordinal, by])
  }

  words(ordinal: number, { attempt, log, from, to, ids }: Words): void {
    this.#reserve(WORDS_BYTES + ids.length * 4)
    this.#u8(KIND.words)
    this.#f64(ordinal)
    this.#u32(attempt)
    this.#u32(from + 1)
    this.#u32(to - from)
    this.#u32(ids.length)
    for (const id of ids) this.#i32(id)
    log.visit(from, to, this)
  }

  event({ task, seq, at, ...body }: TaskEvent): void {
    this.#reserve(EVENT_BYTES)
    this.#f64(at)
    this.#packed(BODY.other, body)
  }

  token(at: number, tokens: number, text: Text, from: number, to: number): void {
    this.#reserve(EVENT_BYTES + to - from)
    this.#f64(at)
    this.#u8(BODY.token)
    this.#u32(tokens)
    this.#u32(to - from)
    this.#end = text.copy(from, to, this.#buffer, this.#end)
  }

  #packed(kind: number, value: unknown): void {
    const bytes = pack(value)
    this.#reserve(5 + bytes.length)
    this.#u8(kind)
    this.#u32(bytes.length)
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }

  #u8(value: number): void {
    this.#buffer[this.#end++] = value
  }

  #u32(value: number): void {
    this.#view.setUint32(this.#end, value, true)
    this.#end += 4
  }

  #i32(value: number): void {
    this.#view.setInt32(this.#end, value, true)
    this.#end += 4
  }

  #f64(value: number): void {
    this.#view.setFloat64(this.#end, value, true)
    this.#end += 8
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed > this.#buffer.length) this.#resize(Math.max(needed, this.#buffer.length * 2))
  }

  #resize(bytes: number): void {
    const buffer = Buffer.allocUnsafeSlow(bytes)
    this.#buffer.copy(buffer, 0, 0, this.#end)
    this.#buffer = buffer
    this.#view = viewOf(buffer)
  }
}

/** The entries of a record, without its header, in the order in which they were written.
 * @throws when the bytes are not those of a `RecordWriter` */
export function* readRecord(bytes: Buffer): Generator<JournalEntry> {
  const view = viewOf(bytes)
  let at = 0
  const u8 = (): number => bytes[at++] as number
  const number = (read: (at: number) => number, size: number): number => {
    at += size
    return read(at - size)
  }
  const u32 = (): number => number((at) => view.getUint32(at, true), 4)
  const i32 = (): number => number((at) => view.getInt32(at, true), 4)
  const f64 = (): number => number((at) => view.getFloat64(at, true), 8)
  const slice = (): Buffer => {
    const length = u32()
    at += length
    return bytes.subarray(at - length, at)
  }
  const body = (): EventBody => {
    if (u8() === BODY.other) return unpackOwn(slice()) as EventBody
    const tokens = u32()
    return { type: 'token', text: slice().toString('utf8'), tokens }
  }
  const words = (): JournalEntry => {
    const [ordinal, attempt, firstSeq, count, idCount] = [f64(), u32(), u32(), u32(), u32()]
    const ids = Array.from({ length: idCount }, i32)
    const events = Array.from({ length: count }, (_, i) => ({ seq: firstSeq + i, at: f64(), ...body() }))
    return { type: 'words', ordinal, attempt, events, ids }
  }
  while (at < bytes.length) {
    const kind = u8()
    switch (kind) {
      case KIND.task: {
        // As `task` packed it.
        const [task, first] = unpackOwn(slice()) as [PlainTask, TaskEvent]
        yield { type: 'task', task: taskOf(task), first }
        break
      }
      case KIND.words:
        yield words()
        break
      case KIND.cancel: {
        const [ordinal, by] = unpackOwn(slice()) as [number, CanceledBy]
        yield { type: 'cancel', ordinal, by }
        break
      }
      default:
        throw new Error(`an entry of kind ${kind} at byte ${at - 1}`)
    }
  }
}

const viewOf = (buffer: Buffer): DataView => new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
