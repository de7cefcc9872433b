/**
 * One SSE response that follows a task: a reader on one side, a socket on the other. What the bytes of an event are is a
 * `Framing`'s matter.
 *
 * It writes a piece at each chance that the pump gives it, in which all missed tokens are merged, and stops at the first
 * that does not fit; what happens meanwhile costs nothing, because the reader is a position. The response ends with the
 * terminal event, and not while earlier bytes wait for the socket.
 *
 * Habits of uWebSockets.js that matter to a stalled reader: it cuts a response 10 s after a write that did not fit,
 * unless `onWritable` comes before; `resume` sets these 10 s anew, but stops polling for `onWritable` until the next
 * write that does not fit; and it flushes what it has buffered only together with a new write. So a stalled stream is
 * resumed and written a few bytes every 5 s, and those are all that it grows by.
 */
import type { Seq } from '../core/event.js'
import type { Gateway } from '../gateway/gateway.js'
import type { Pumpable } from '../gateway/pump.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Reader } from '../log/reader.js'
import type { Framing } from '../wire/framing.js'
import { SSE_HEADERS, SSE_KEEP_ALIVE, SSE_NOTHING } from '../wire/sse.js'
import type { Beating, KeepAlive } from './keep-alive.js'
import type { OpenAnswer, OpenAnswers } from './open-answers.js'
import type { Exchange } from './request.js'

/** Under the 10 s of uWebSockets.js, by more than the 4 s from one of its looks to the next. */
export const STALL_BEAT_MS = 5000

/** Where a stream is known while it is open. */
export type Streams = {
  answers: OpenAnswers
  /** Text in one merged event, and frames in one write: what a full socket can have buffered is about this. */
  pieceBytes: number
  beats: {
    /** For streams that have nothing to say. */
    idle: KeepAlive
    /** For streams whose socket is full. */
    stalled: KeepAlive
  }
}

export class EventStream implements Pumpable, Beating, OpenAnswer {
  readonly #exchange: Exchange
  readonly #gateway: Gateway
  readonly #streams: Streams
  readonly #framing: Framing
  readonly #reader: Reader
  behindSince = 0
  bucket = 0
  #room = true
  /** From the first write that did not fit until `onWritable`. */
  #stall: Beating | null = null
  #finishing = false

  /** Answers `exchange` with the events after `after`.
   * @throws RejoinError `draining`, and as `Gateway.attach` does; nothing is written then */
  constructor(
    exchange: Exchange,
    gateway: Gateway,
    streams: Streams,
    record: TaskRecord,
    after: Seq,
    framing: Framing,
    headers: [string, string][],
  ) {
    streams.answers.check()
    this.#exchange = exchange
    this.#gateway = gateway
    this.#streams = streams
    this.#framing = framing
    this.#reader = gateway.attach(record, after, () => gateway.pump.mark(this, this.#reader.fresh))
    exchange.onAborted(() => this.#leave())
    exchange.res.onWritable(() => {
      this.#write(this.#piece() || SSE_NOTHING)
      if (this.#room) this.#unstall()
      this.pump()
      return true
    })
    streams.beats.idle.add(this)
    const room = exchange.begin([...SSE_HEADERS, ...headers], () => exchange.res.write(framing.opening + this.#piece()))
    this.#wrote(room)
    streams.answers.add(this)
    this.pump()
  }

  pump(): void {
    if (!this.#exchange.open) return
    if (this.#room && this.#reader.behind) {
      const piece = this.#piece()
      // With its last bytes, so that it costs one write.
      if (this.#reader.done) this.#end(piece)
      else if (piece !== '') this.#write(piece)
    }
    if (!this.#room || !this.#exchange.open) return
    if (this.#reader.behind) this.#gateway.pump.mark(this)
    else if (this.#reader.done) this.#end('')
    else if (this.#finishing) {
      this.#leave()
      this.#exchange.cut()
    }
  }

  /** Where the task goes on in the next process, its reader loses the connection and comes back with its position. */
  finish(): void {
    this.#finishing = true
    this.pump()
  }

  beat(): void {
    if (this.#room && this.#exchange.open) this.#write(SSE_KEEP_ALIVE)
  }

  #end(piece: string): void {
    this.#leave()
    this.#exchange.end(piece)
  }

  /** The frames of what it misses, up to about `pieceBytes`. */
  #piece(): string {
    const { pieceBytes } = this.#streams
    let frames = ''
    while (frames.length < pieceBytes) {
      const entry = this.#reader.next(pieceBytes)
      if (entry === null) break
      frames += this.#framing.frame(entry)
    }
    return frames
  }

  /** The result tells of what was buffered before, and of `text` only when that is over 16 KB. */
  #write(text: string): void {
    const { res } = this.#exchange
    let room = false
    res.cork(() => {
      room = res.write(text)
    })
    this.#wrote(room)
  }

  #wrote(room: boolean): void {
    this.#room = room
    if (room || this.#stall) return
    this.#stall = { bucket: 0, beat: () => this.#holdOut() }
    this.#streams.beats.stalled.add(this.#stall)
  }

  #holdOut(): void {
    this.#exchange.res.resume()
    if (this.#room) return
    this.#write(SSE_NOTHING)
    this.pump()
  }

  #unstall(): void {
    if (this.#stall) this.#streams.beats.stalled.remove(this.#stall)
    this.#stall = null
  }

  #leave(): void {
    this.#gateway.detach(this.#reader)
    this.#streams.answers.remove(this)
    this.#streams.beats.idle.remove(this)
    this.#unstall()
  }
}
