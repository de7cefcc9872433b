/**
 * The WebSocket on `/v1/responses`: OpenAI's create requests as frames, and their events back, one response at a time.
 *
 * The response that was made last can be gone on from here even when it was made with `store: false`, which for all
 * others means that it is not there. A connection that is lost loses its place: the protocol knows no way back to a
 * stream, but a response that is stored is there over HTTP.
 */
import { ERRORS, RejoinError } from '../core/errors.js'
import type { Logger } from '../core/logger.js'
import type { Gateway } from '../gateway/gateway.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Reader } from '../log/reader.js'
import type { Absent } from '../wire/fields.js'
import { errorObject } from '../wire/json.js'
import { isObject } from '../wire/object.js'
import type { ResponseEvents } from '../wire/openai/response-events.js'
import { parseResponseRequest, type ResponseOrigin } from '../wire/openai/response-request.js'
import { parseJson } from '../wire/request.js'
import { authenticate } from './auth.js'
import { eventsOf, type Found, specOf } from './responses.js'
import { type Connection, Outlet, type SocketOptions, type Speaking, type Ws } from './sockets.js'

/** Requests that may wait for the one that runs. */
const MAX_WAITING = 16

export function speakResponses(gateway: Gateway, options: SocketOptions, absent: Absent, logger: Logger): Speaking {
  return { subprotocol: '', open: (ws) => new ResponsesConnection(ws, gateway, options, absent, logger) }
}

/** A response on its way out. */
type Stream = { reader: Reader; events: ResponseEvents; done: () => void }

class ResponsesConnection implements Connection {
  readonly out: Outlet
  readonly #gateway: Gateway
  readonly #options: SocketOptions
  readonly #absent: Absent
  readonly #logger: Logger
  readonly #caller = authenticate()
  behindSince = 0
  #stream: Stream | null = null
  /** The last response, to go on from. */
  #last: Found | null = null
  #waiting = 0
  #turn: Promise<void> = Promise.resolve()

  constructor(ws: Ws, gateway: Gateway, options: SocketOptions, absent: Absent, logger: Logger) {
    this.out = new Outlet(ws, options)
    this.#gateway = gateway
    this.#options = options
    this.#absent = absent
    this.#logger = logger
  }

  get behind(): boolean {
    return this.#stream?.reader.behind === true
  }

  receive(bytes: Uint8Array): void {
    try {
      const frame = parseJson(bytes)
      if (!isObject(frame) || frame.type !== 'response.create') {
        throw new RejoinError('invalid_request', 'a frame must be an object of type `response.create`', {
          param: 'type',
        })
      }
      if (this.#waiting > MAX_WAITING) {
        throw new RejoinError('queue_full', `${MAX_WAITING} requests wait on this socket, the bound`, {
          retryAfterS: 1,
        })
      }
      const { type: _, ...request } = frame
      this.#waiting++
      this.#turn = this.#turn
        .then(() => this.#create(request, bytes.byteLength))
        .catch((error: unknown) => this.#refuse(error))
        .finally(() => this.#waiting--)
    } catch (error) {
      this.#refuse(error)
    }
  }

  /** Writes what is behind, while the socket has room. */
  pump(): void {
    const stream = this.#stream
    if (!this.out.open || stream === null) return
    const { maxUnsentBytes } = this.#options
    let left = maxUnsentBytes
    this.out.cork((ws) => {
      while (left > 0 && this.out.room) {
        const entry = stream.reader.next(maxUnsentBytes)
        if (entry === null) break
        for (const { json } of stream.events.of(entry)) {
          left -= json.length
          ws.send(json)
        }
      }
    })
    if (stream.reader.done) stream.done()
    else if (this.out.room && stream.reader.behind) this.#gateway.pump.mark(this)
  }

  closed(): void {
    this.#stream?.done()
  }

  /** Resolves when the stream is over. */
  async #create(value: Record<string, unknown>, bytes: number): Promise<void> {
    if (!this.out.open) return
    const atHand = this.#last
    // One that cannot be gone on from is not kept either.
    this.#last = null
    const request = parseResponseRequest(value, this.#absent)
    const { spec, bytes: earlier } = await specOf(this.#gateway, request, atHand)
    const { record } = await this.#gateway.submitFollowed(this.#caller, spec, {
      bytes: bytes + earlier,
      idempotency: null,
    })
    await this.#follow(record, request.spec.origin)
  }

  #follow(record: TaskRecord, origin: ResponseOrigin): Promise<void> {
    if (!this.out.open) return Promise.resolve()
    const found = { record, origin }
    return new Promise((resolve) => {
      const reader = this.#gateway.attach(record, 0, () => this.#gateway.pump.mark(this, reader.fresh))
      const done = (): void => {
        this.#gateway.detach(reader)
        this.#stream = null
        this.#last = found
        resolve()
      }
      this.#stream = { reader, events: eventsOf(this.#gateway, found, -1), done }
      this.pump()
    })
  }

  /** With the fields that OpenAI's clients look for. */
  #refuse(thrown: unknown): void {
    const error = thrown instanceof RejoinError ? thrown : new RejoinError('internal', 'the gateway has a defect')
    if (error !== thrown) this.#logger.error({ err: thrown }, 'a frame was not handled')
    const frame = { type: 'error', status: ERRORS[error.code].status, ...errorObject(error) }
    this.out.answer(JSON.stringify(frame), false)
  }
}
