/**
 * Answers over a WebSocket: one socket per client, kept between answers, resumed with `subscribe`.
 */
import type { Answer } from '../answer.js'
import { backOff, type Client, type Setting } from '../client.js'
import { Connection } from '../connection.js'
import { acceptOf, FrameParser, newKey, pongFrame } from '../frames.js'
import { headerLines } from '../http.js'
import type { Format } from './format.js'

const HEAD_END = Buffer.from('\r\n\r\n')
/** Answers of the server on which another attempt may end better. */
const RETRY = [
  'queue_full',
  'too_many_subscriptions',
  'too_many_readers',
  'storage_full',
  'draining',
  'too_many_webhooks',
]

/** What comes of a socket until its end. */
type Socket = { connection: Connection; opened: Promise<boolean>; closed: Promise<string | null> }

export class SocketClient implements Client {
  readonly #setting: Setting
  readonly #format: Format
  #socket: Socket | null = null
  #answer: Answer | null = null
  #wake: () => void = () => {}
  #error: string | null = null
  /** When it began to come back; 0 when it did not. */
  #resumedAt = 0
  #cut: () => void = () => {}

  constructor(setting: Setting, format: Format) {
    this.#setting = setting
    this.#format = format
  }

  async follow(answer: Answer, signal: AbortSignal): Promise<void> {
    const { measure, random, body } = this.#setting
    const stop = (): void => this.#wake()
    signal.addEventListener('abort', stop)
    this.#answer = answer
    for (let tries = 0; answer.end === null && !signal.aborted; ) {
      this.#error = null
      const before = answer.position
      this.#socket ??= this.#connect()
      const socket = this.#socket
      if (await socket.opened) {
        this.#send(
          answer.id === null
            ? { type: 'submit', ...body(measure.begun) }
            : { type: 'subscribe', task: answer.id, after: before },
        )
        await Promise.race([socket.closed, this.#told()])
      }
      if (answer.end !== null || signal.aborted) break
      const error: string | null = this.#error
      if (error !== null) {
        measure.error(error)
        if (!RETRY.includes(error)) break
        await backOff(tries++, random, signal, 1)
        continue
      }
      const reason = await socket.closed
      if (reason !== null) measure.error(reason)
      measure.resumes++
      tries = answer.position > before ? 0 : tries + 1
      if (tries > 1) await backOff(tries, random, signal)
      this.#resumedAt = performance.now()
    }
    signal.removeEventListener('abort', stop)
    if (answer.end === null && answer.id !== null && signal.aborted) this.#send({ type: 'cancel', task: answer.id })
    this.#answer = null
  }

  cut(): boolean {
    const under = this.#answer !== null
    this.#cut()
    return under
  }

  close(): void {
    this.#socket?.connection.destroy()
    this.#socket = null
  }

  #send(message: Record<string, unknown>): void {
    this.#socket?.connection.write(this.#format.frame(message))
  }

  /** The answer is over, or refused, or the run is. */
  #told(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #message(bytes: Buffer): void {
    const { measure } = this.#setting
    const answer = this.#answer
    if (answer === null) return
    if (this.#resumedAt > 0) measure.time('resume', performance.now() - this.#resumedAt)
    this.#resumedAt = 0
    const said = this.#format.read(bytes, answer)
    if (said?.type === 'accepted') answer.id = said.task
    if (said?.type === 'error') this.#error = said.code
    if (said?.type === 'error' || answer.end !== null) this.#wake()
  }

  #connect(): Socket {
    const { url, headers, slow, measure } = this.#setting
    const key = newKey()
    const opened = deferred<boolean>()
    const closed = deferred<string | null>()
    let head: Buffer | null = Buffer.alloc(0)
    const gone = (reason: string | null): void => {
      connection.destroy()
      if (this.#socket?.connection === connection) this.#socket = null
      opened.resolve(false)
      closed.resolve(reason)
    }
    const frames = new FrameParser({
      message: (bytes) => this.#message(bytes),
      ping: (payload) => connection.write(pongFrame(payload)),
      // 1012 and 1013 ask for another attempt, as a lost connection does.
      close: (code) => gone(code === 1012 || code === 1013 ? null : `close_${code}`),
    })
    const connection = new Connection(
      url,
      {
        bytes: (bytes) => {
          measure.bytes += bytes.length
          if (head === null) {
            frames.take(bytes)
            return
          }
          head = Buffer.concat([head, bytes])
          const end = head.indexOf(HEAD_END)
          if (end < 0) return
          const text = head.toString('latin1', 0, end)
          const rest = head.subarray(end + HEAD_END.length)
          head = null
          if (!text.startsWith('HTTP/1.1 101') || !text.includes(acceptOf(key)))
            return gone(`http_${text.slice(9, 12)}`)
          opened.resolve(true)
          if (rest.length > 0) frames.take(rest)
        },
        closed: gone,
      },
      slow,
    )
    this.#cut = () => gone(null)
    const lines = headerLines({
      Host: url.host,
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': key,
      'Sec-WebSocket-Protocol': this.#format.subprotocol,
      ...headers,
    })
    connection.write(`GET /v1/ws HTTP/1.1\r\n${lines}\r\n`)
    return { connection, opened: opened.promise, closed: closed.promise }
  }
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
