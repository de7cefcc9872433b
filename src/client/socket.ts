/**
 * One WebSocket for all tasks (PROTOCOL section 6), opened when the first is followed and closed when none is.
 *
 * A browser tells nothing of a connection that died in silence, so it is asked: after a while without a word, a ping.
 */
import { isTerminal, type TaskEvent } from '../core/event.js'
import { mayChange, RejoinError } from './errors.js'
import type { Http } from './http.js'
import type { Listener, Stop, Transport } from './transport.js'

/** What every runtime's WebSocket has. */
export interface SocketLike {
  readonly readyState: number
  send(data: string): void
  close(code?: number): void
  addEventListener(type: string, listener: (event: { data?: unknown; code?: number }) => void): void
}
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike

export type SocketTimes = {
  /** Until it is open. */
  openMs: number
  /** Without a word until it is asked. */
  quietMs: number
  /** Until a ping is answered. */
  pongMs: number
  /** It stays open for so long without a task. */
  lingerMs: number
}

const SUBPROTOCOL = 'rejoin.v1.json'
const OPEN = 1
/** WebSocket close codes (RFC 6455, section 7.4.1, and the IANA registry). */
const CLOSE = { protocol: 1002, policy: 1008, tooBig: 1009, restart: 1012, tryAgain: 1013 }
/** A gateway that restarts is there again soon, and all of its clients with it. */
const RESTART_MS = 1000

type Subscription = { listener: Listener; stop: (stop: Stop) => void }

/** Of a task. */
type Frame =
  | { type: 'subscribed' | 'unsubscribed'; task: string }
  | { type: 'error'; task: string; error: { code: string; message: string; param: string | null } }
  | TaskEvent

export class SocketTransport implements Transport {
  readonly name = 'websocket'
  readonly #http: Http
  readonly #construct: SocketConstructor
  readonly #times: SocketTimes
  /** The connection that tasks are followed on, or that opens. */
  #line: Promise<Line | Stop> | null = null

  constructor(http: Http, construct: SocketConstructor, times: SocketTimes) {
    this.#http = http
    this.#construct = construct
    this.#times = times
  }

  async follow(task: string, after: number, listener: Listener, signal: AbortSignal): Promise<Stop> {
    const opening = this.#open()
    const line = await abortable(opening, signal)
    if (line === null) return { type: 'again' }
    if (!(line instanceof Line)) return line
    return line.follow(task, after, listener, signal)
  }

  /** Opens the connection ahead of the first task, since that takes a round trip. */
  warm(): void {
    void this.#open()
  }

  /** Cuts it; whoever follows a task on it is told. */
  async cut(): Promise<void> {
    const line = await this.#line
    if (line instanceof Line) line.close('cut on purpose')
  }

  #open(): Promise<Line | Stop> {
    if (this.#line === null) {
      const line = this.#connect(() => {
        if (this.#line === line) this.#line = null
      })
      this.#line = line
      void line.then((opened) => {
        if (!(opened instanceof Line) && this.#line === line) this.#line = null
      })
    }
    return this.#line
  }

  async #connect(onEnd: () => void): Promise<Line | Stop> {
    const { openMs } = this.#times
    const signal = AbortSignal.timeout(openMs)
    const ticket = await this.#http.ticket(signal)
    if (ticket.type === 'later') return { ...ticket, type: 'cut' }
    if (ticket.type !== 'ticket') return ticket.type === 'ok' ? { type: 'again' } : ticket
    const query = ticket.ticket === null ? '' : `?ticket=${encodeURIComponent(ticket.ticket)}`
    const url = `${this.#http.url.replace(/^http/, 'ws')}/v1/ws${query}`
    let socket: SocketLike
    try {
      socket = new this.#construct(url, [SUBPROTOCOL])
    } catch (error) {
      return { type: 'unusable', reason: (error as Error).message }
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        socket.close()
        resolve({ type: 'unusable', reason: `no WebSocket within ${openMs} ms` })
      }, openMs)
      socket.addEventListener('open', () => {
        clearTimeout(timer)
        resolve(new Line(socket, this.#times, onEnd))
      })
      // A browser does not say what was wrong with the upgrade.
      const failed = (): void => {
        clearTimeout(timer)
        resolve({ type: 'unusable', reason: 'the WebSocket could not be opened' })
      }
      socket.addEventListener('error', failed)
      socket.addEventListener('close', failed)
    })
  }
}

/** An open WebSocket. */
class Line {
  readonly #socket: SocketLike
  readonly #times: SocketTimes
  readonly #onEnd: () => void
  readonly #subscriptions = new Map<string, Subscription>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #linger: ReturnType<typeof setTimeout> | undefined
  #ended = false

  constructor(socket: SocketLike, times: SocketTimes, onEnd: () => void) {
    this.#socket = socket
    this.#times = times
    this.#onEnd = onEnd
    socket.addEventListener('message', ({ data }) => this.#received(String(data)))
    socket.addEventListener('close', ({ code }) => this.#end(stopOf(code ?? 1006)))
    this.#listen()
    this.#rest()
  }

  follow(task: string, after: number, listener: Listener, signal: AbortSignal): Promise<Stop> {
    if (this.#ended || this.#socket.readyState !== OPEN) {
      return Promise.resolve({ type: 'cut', reason: 'the WebSocket was closed' })
    }
    if (this.#subscriptions.has(task)) return Promise.resolve({ type: 'busy' })
    return new Promise((resolve) => {
      const onAbort = (): void => {
        this.#send({ type: 'unsubscribe', task })
        stop({ type: 'again' })
      }
      const stop = (why: Stop): void => {
        signal.removeEventListener('abort', onAbort)
        this.#subscriptions.delete(task)
        this.#rest()
        resolve(why)
      }
      clearTimeout(this.#linger)
      signal.addEventListener('abort', onAbort)
      this.#subscriptions.set(task, { listener, stop })
      this.#send({ type: 'subscribe', task, after })
    })
  }

  close(reason: string): void {
    this.#socket.close()
    // The close event may take long to come, when nobody answers.
    this.#end({ type: 'cut', reason })
  }

  #send(frame: Record<string, unknown>): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(JSON.stringify(frame))
  }

  #received(text: string): void {
    if (this.#ended) return
    this.#listen()
    const frame = frameOf(text)
    if (frame === null) this.close('the WebSocket says what no gateway says')
    // A pong names no task.
    const subscription = frame && this.#subscriptions.get(frame.task)
    if (!subscription) return
    const { listener, stop } = subscription
    if ('seq' in frame) {
      listener.event(frame)
      if (isTerminal(frame)) stop({ type: 'ended' })
    } else if (frame.type === 'subscribed') listener.live()
    else if (frame.type === 'error') stop(refusal(frame.error))
  }

  /** Asks when nothing is heard, and gives up when nothing answers. */
  #listen(): void {
    const { quietMs, pongMs } = this.#times
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#send({ type: 'ping' })
      this.#timer = setTimeout(() => this.close('the WebSocket was silent'), pongMs)
    }, quietMs)
  }

  /** Closes it when no task is followed for a while. */
  #rest(): void {
    clearTimeout(this.#linger)
    if (this.#subscriptions.size > 0 || this.#ended) return
    this.#linger = setTimeout(() => this.close('idle'), this.#times.lingerMs)
  }

  #end(stop: Stop): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    clearTimeout(this.#linger)
    this.#onEnd()
    for (const subscription of [...this.#subscriptions.values()]) subscription.stop(stop)
  }
}

/** Null for what is no frame: something between us answers in the gateway's place. */
function frameOf(text: string): Frame | null {
  try {
    return JSON.parse(text) as Frame
  } catch {
    return null
  }
}

function refusal({ code, message, param }: Extract<Frame, { type: 'error' }>['error']): Stop {
  if (mayChange(code)) return { type: 'cut', reason: code }
  return { type: 'refused', error: new RejoinError(code, message, null, param) }
}

function stopOf(code: number): Stop {
  const reason = `the WebSocket was closed (${code})`
  switch (code) {
    case CLOSE.restart:
      return { type: 'cut', reason, afterMs: Math.random() * RESTART_MS }
    case CLOSE.tryAgain:
      return { type: 'cut', reason, afterMs: RESTART_MS * (1 + Math.random()) }
    case CLOSE.protocol:
    case CLOSE.policy:
    case CLOSE.tooBig:
      return { type: 'unusable', reason }
    default:
      return { type: 'cut', reason }
  }
}

/** Null when the signal aborts first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | null> {
  if (signal.aborted) return Promise.resolve(null)
  return new Promise((resolve) => {
    const onAbort = (): void => resolve(null)
    signal.addEventListener('abort', onAbort)
    void promise.then((value) => {
      signal.removeEventListener('abort', onAbort)
      resolve(value)
    })
  })
}
