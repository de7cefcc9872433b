/**
 * One SSE response that follows a task: a reader on one side, a socket on the other.
 *
 * It writes while the socket takes bytes and stops at the first write that does not fit; what happens meanwhile
 * costs nothing, because the reader is a position. When the socket drains it writes one piece at a time, in which
 * all missed tokens are merged. The response ends after the terminal event, and only once its bytes are out.
 */
import type { Seq } from '../core/event.js'
import type { Gateway } from '../gateway/gateway.js'
import type { Pumpable } from '../gateway/pump.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Reader } from '../log/reader.js'
import { SSE_HEADERS, SSE_KEEP_ALIVE, sseFrame, sseRetry } from '../wire/sse.js'
import type { Beating, KeepAlive } from './keep-alive.js'
import type { Exchange } from './request.js'

/** Text in one merged event, and frames in one write: what a full socket can have buffered is about this. */
export const PIECE_BYTES = 32_768

export class EventStream implements Pumpable, Beating {
  readonly #exchange: Exchange
  readonly #gateway: Gateway
  readonly #keepAlive: KeepAlive
  readonly #reader: Reader
  #room: boolean

  /** Answers `exchange` with the events after `after`.
   * @throws RejoinError as `Gateway.attach` does; nothing is written then */
  constructor(
    exchange: Exchange,
    gateway: Gateway,
    keepAlive: KeepAlive,
    record: TaskRecord,
    after: Seq,
    headers: [string, string][],
  ) {
    this.#exchange = exchange
    this.#gateway = gateway
    this.#keepAlive = keepAlive
    this.#reader = gateway.attach(record, after, () => gateway.pump.mark(this))
    exchange.onAborted(() => this.#leave())
    exchange.res.onWritable(() => {
      this.#room = true
      this.pump()
      return true
    })
    keepAlive.add(this)
    this.#room = exchange.begin([...SSE_HEADERS, ...headers], () =>
      exchange.res.write(sseRetry(Math.random()) + this.#piece()),
    )
    if (this.#room) this.pump()
  }

  pump(): void {
    if (!this.#exchange.open) return
    while (this.#room && this.#reader.behind) this.#write(this.#piece())
    if (!this.#room || !this.#reader.done) return
    this.#leave()
    this.#exchange.end()
  }

  beat(): void {
    if (this.#exchange.open && this.#room) this.#write(SSE_KEEP_ALIVE)
  }

  /** The frames of what it misses, up to about `PIECE_BYTES`. */
  #piece(): string {
    let frames = ''
    while (frames.length < PIECE_BYTES) {
      const entry = this.#reader.next(PIECE_BYTES)
      if (entry === null) break
      frames += sseFrame(entry)
    }
    return frames
  }

  #write(text: string): void {
    const { res } = this.#exchange
    res.cork(() => {
      this.#room = res.write(text)
    })
  }

  #leave(): void {
    this.#gateway.detach(this.#reader)
    this.#keepAlive.remove(this)
  }
}
