/**
 * One HTTP request and its answer.
 *
 * uWebSockets.js lends `req` for the handler's first lines only and voids `res` when the client goes away, so all
 * that is needed is copied here, before anything waits, and every write asks `open` first. Writes are corked: one
 * that is not costs three times as much.
 */

import type { HttpRequest, HttpResponse } from 'uWebSockets.js'
import { STATUS_CODES } from 'node:http'
import { ERRORS, RejoinError } from '../core/errors.js'
import { newRequestId, type TaskId } from '../core/id.js'
import { errorObject } from '../wire/json.js'

/** The headers that any handler reads. */
const COPIED = ['accept', 'accept-encoding', 'idempotency-key', 'if-none-match', 'last-event-id'] as const
type Copied = (typeof COPIED)[number]

const NO_HEADERS = {}
type Headers = Iterable<readonly [string, string]>

const REQUEST_ID = /^[\w.:-]{1,128}$/

export class Exchange {
  readonly res: HttpResponse
  readonly method: string
  path: string
  readonly requestId: string
  /** The task that the answer is about, where the protocol has no place of its own to name it: sent as `X-Task-Id`. */
  task: TaskId | null = null
  #headers: Partial<Record<Copied, string>> = {}
  #query: string
  readonly #contentLength: number
  #open = true
  #onAborted: () => void = () => {}

  constructor(res: HttpResponse, req: HttpRequest) {
    this.res = res
    this.method = req.getCaseSensitiveMethod()
    this.path = req.getUrl()
    this.#query = req.getQuery()
    for (const name of COPIED) this.#headers[name] = req.getHeader(name)
    this.#contentLength = Number(req.getHeader('content-length') || 0)
    const given = req.getHeader('x-request-id')
    this.requestId = REQUEST_ID.test(given) ? given : newRequestId()
    res.onAborted(() => {
      this.#open = false
      this.#onAborted()
    })
  }

  /** The client is there and has no complete answer yet. */
  get open(): boolean {
    return this.#open
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#query)
  }

  header(name: Copied): string {
    return this.#headers[name] ?? ''
  }

  /** Whether the client asked for a stream of events. */
  get wantsEvents(): boolean {
    return this.method !== 'HEAD' && this.header('accept').includes('text/event-stream')
  }

  /** Whether the client has that version already: it sent the tag along. */
  knows(etag: string): boolean {
    const known = this.header('if-none-match').split(',')
    return known.some((tag) => tag.trim().replace(/^W\//, '') === etag)
  }

  onAborted(listener: () => void): void {
    this.#onAborted = listener
  }

  /** Must be called in the handler's first turn. Never resolves when the client goes away.
   * @throws RejoinError `body_too_large` */
  body(maxBytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const tooLarge = (bytes: number): void =>
        reject(new RejoinError('body_too_large', `the body has ${bytes} bytes or more, over ${maxBytes}`))
      const chunks: Buffer[] = []
      let bytes = 0
      this.res.onData((chunk, isLast) => {
        bytes += chunk.byteLength
        if (bytes > maxBytes) {
          // The rest is read and dropped: closing now would reset the connection under the answer.
          chunks.length = 0
          tooLarge(bytes)
          return
        }
        // A copy: uWebSockets.js takes the chunk back when this returns.
        chunks.push(Buffer.from(chunk.slice(0)))
        // The handler lives as long as the answer does, which may be a stream: its body must not.
        if (isLast) resolve(chunks.length === 1 ? (chunks.pop() as Buffer) : Buffer.concat(chunks.splice(0)))
      })
      if (this.#contentLength > maxBytes) tooLarge(this.#contentLength)
    })
  }

  json(status: number, value: unknown, headers: Headers = []): void {
    this.send(status, 'application/json', JSON.stringify(value), headers)
  }

  send(status: number, type: string, body: string | Uint8Array, headers: Headers = []): void {
    this.#answer(status, headers, () => {
      this.res.writeHeader('Content-Type', type)
      // RFC 9110, section 9.3.2: the headers of a GET, its length included, and nothing after them.
      if (this.method === 'HEAD') this.res.endWithoutBody(Buffer.byteLength(body))
      else this.#sendBody(Buffer.from(body))
    })
  }

  empty(status: number, headers: Headers = []): void {
    this.#answer(status, headers, () => this.res.endWithoutBody())
  }

  /** The error of PROTOCOL section 7. */
  fail(error: RejoinError, headers: Headers = []): void {
    const { status, retry } = ERRORS[error.code]
    const advice: [string, string][] =
      retry === 'never'
        ? [['x-should-retry', 'false']]
        : status === 429 || status === 503
          ? [['Retry-After', String(error.retryAfterS ?? 1)]]
          : []
    this.json(status, errorObject(error), [...advice, ...headers])
  }

  /** Begins an answer that goes on; `first` is its first piece. Returns false when the socket is full already. */
  begin(headers: Headers, first: () => boolean): boolean {
    let room = false
    // It may go on for long, and nobody asks for these again.
    this.path = ''
    this.#query = ''
    this.#headers = NO_HEADERS
    this.#head(200, headers, () => {
      room = first()
    })
    return room
  }

  /** Ends an answer that was begun, with its last piece. */
  end(last: string): void {
    if (!this.#open) return
    this.#open = false
    this.res.cork(() => this.res.end(last))
  }

  /** Ends an answer that was begun and is not whole, so that the client can tell: its connection breaks. */
  cut(): void {
    if (!this.#open) return
    this.#open = false
    this.res.close()
  }

  /**
   * Not `end`, which buffers all that the socket does not take: a client that sends request after request and reads no
   * answer would fill the memory. While this one is not out, uWebSockets.js takes no further request of its connection.
   */
  #sendBody(body: Buffer): void {
    const { res } = this
    const before = res.getWriteOffset()
    if (res.tryEnd(body, body.length)[1]) return
    res.onWritable((offset) => res.tryEnd(body.subarray(offset - before), body.length)[0])
  }

  #answer(status: number, headers: Headers, body: () => void): void {
    this.#head(status, headers, () => {
      this.#open = false
      body()
    })
  }

  #head(status: number, headers: Headers, rest: () => void): void {
    if (!this.#open) return
    this.res.cork(() => {
      this.res.writeStatus(`${status} ${STATUS_CODES[status] ?? ''}`)
      this.res.writeHeader('X-Request-Id', this.requestId)
      if (this.task !== null) this.res.writeHeader('X-Task-Id', this.task)
      for (const [name, value] of headers) this.res.writeHeader(name, value)
      rest()
    })
  }
}
