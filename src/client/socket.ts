/**
 * One WebSocket for all tasks (PROTOCOL section 6), opened when the first is followed; what is said on it is `Line`'s.
 */
import type { Http } from './http.js'
import { Line, type LineTimes, type SocketLike } from './line.js'
import type { Listener, Stop, Transport } from './transport.js'

export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike

export type SocketTimes = LineTimes & {
  /** Until it is open. */
  openMs: number
}

const SUBPROTOCOL = 'rejoin.v1.json'

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
    if (ticket.type !== 'ticket') return ticket
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
