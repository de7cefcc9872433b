/**
 * Every open WebSocket, whatever it speaks: upgrades, bounds, keep-alive, and the end.
 *
 * Nothing is ever dropped (`maxBackpressure: 0`): a connection looks at what is buffered before it writes.
 */
import type { HttpRequest, HttpResponse, us_socket_context_t, WebSocket, WebSocketBehavior } from 'uWebSockets.js'
import { RejoinError } from '../core/errors.js'
import type { Gateway } from '../gateway/gateway.js'
import type { Pumpable } from '../gateway/pump.js'
import { draining } from '../gateway/refusals.js'
import type { Beating, KeepAlive } from './keep-alive.js'
import { Exchange } from './request.js'

export type SocketOptions = {
  maxFrameBytes: number
  maxSockets: number
  maxSubscriptions: number
  /** In a socket that has so much unsent nothing more is put. */
  maxUnsentBytes: number
}

export interface Connection extends Pumpable {
  readonly out: Outlet
  /** It has not been sent all that there is for it. */
  readonly behind: boolean
  receive(bytes: Uint8Array): void
  /** Nothing can be sent any more. */
  closed(): void
}

export type Ws = WebSocket<SocketData>

/** How a client is spoken to: with the subprotocol that was chosen, '' when it named none. */
export type Speaking = { subprotocol: string; open: (ws: Ws) => Connection }

export type SocketData = { speaking: Speaking; connection: Connection | null }

export const CLOSE = { policy: 1008, tooBig: 1009, restart: 1012, tryAgain: 1013 } as const

/** Answers that a client makes us buffer by asking without reading; past this it is closed. */
const MAX_UNREAD_BYTES = 4_194_304
/** Over `maxFrameBytes`: a frame up to here is received whole, to be answered with a close code. */
const HEADROOM_BYTES = 16_777_216

/** The sending side of a connection: never more unsent than is allowed, and nothing once it has ended. */
export class Outlet implements Beating {
  readonly #ws: Ws
  readonly #maxUnsentBytes: number
  bucket = 0
  #open = true

  constructor(ws: Ws, { maxUnsentBytes }: SocketOptions) {
    this.#ws = ws
    this.#maxUnsentBytes = maxUnsentBytes
  }

  get open(): boolean {
    return this.#open
  }

  /** There is room for a further frame, of whatever size. */
  get room(): boolean {
    return this.#ws.getBufferedAmount() < this.#maxUnsentBytes
  }

  /** What is sent within it goes out together. */
  cork(send: (ws: Ws) => void): void {
    if (this.#open) this.#ws.cork(() => send(this.#ws))
  }

  /** Whether there is room or not, since it was asked for; who asks without reading is closed. */
  answer(frame: string | Uint8Array, binary: boolean): void {
    if (!this.#open) return
    if (this.#ws.getBufferedAmount() > MAX_UNREAD_BYTES) this.end(CLOSE.tryAgain, 'answers are not read')
    else this.cork((ws) => ws.send(frame, binary))
  }

  beat(): void {
    if (this.#open && this.room) this.#ws.ping()
  }

  end(code: number, reason: string): void {
    if (this.#open) this.#ws.end(code, reason)
  }

  closed(): void {
    this.#open = false
  }
}

export class Sockets {
  readonly #gateway: Gateway
  readonly #keepAlive: KeepAlive
  readonly #options: SocketOptions
  readonly #connections = new Set<Connection>()

  constructor(gateway: Gateway, keepAlive: KeepAlive, options: SocketOptions) {
    this.#gateway = gateway
    this.#keepAlive = keepAlive
    this.#options = options
  }

  /** @param speak gets the subprotocols that a client names; a RejoinError of it refuses the client */
  behavior(speak: (subprotocols: string) => Speaking): WebSocketBehavior<SocketData> {
    return {
      // More than is allowed comes through, so that the close can say 1009: past its own bound uWebSockets.js hangs up.
      maxPayloadLength: this.#options.maxFrameBytes + HEADROOM_BYTES,
      maxBackpressure: 0,
      // The longest there is: a client that stalls does not answer pings either, and it may stall. (None at all would
      // give a closing socket less than 4 s to read its close frame.) Our own pings keep proxies from closing.
      idleTimeout: 960,
      sendPingsAutomatically: false,
      upgrade: (res, req, context) => this.#upgrade(res, req, context, speak),
      open: (ws) => this.#opened(ws),
      message: (ws, message) => this.#received(ws, new Uint8Array(message)),
      drain: (ws) => {
        ws.getUserData().connection?.pump()
      },
      close: (ws) => {
        const { connection } = ws.getUserData()
        if (!connection) return
        connection.out.closed()
        connection.closed()
        this.#keepAlive.remove(connection.out)
        this.#connections.delete(connection)
      },
    }
  }

  /** A client has not been sent all that there is for it. */
  get behind(): boolean {
    for (const connection of this.#connections) if (connection.behind) return true
    return false
  }

  /** Tells every client to come back to the next process. */
  close(): void {
    for (const connection of this.#connections) connection.out.end(CLOSE.restart, 'service restart')
  }

  #upgrade(
    res: HttpResponse,
    req: HttpRequest,
    context: us_socket_context_t,
    speak: (subprotocols: string) => Speaking,
  ): void {
    const key = req.getHeader('sec-websocket-key')
    const extensions = req.getHeader('sec-websocket-extensions')
    const named = req.getHeader('sec-websocket-protocol')
    const exchange = new Exchange(res, req)
    let speaking: Speaking
    try {
      this.#check()
      speaking = speak(named)
    } catch (error) {
      if (!(error instanceof RejoinError)) throw error
      exchange.fail(error)
      return
    }
    res.cork(() => {
      res.writeStatus('101 Switching Protocols').writeHeader('X-Request-Id', exchange.requestId)
      res.upgrade<SocketData>({ speaking, connection: null }, key, speaking.subprotocol, extensions, context)
    })
  }

  /** @throws RejoinError `draining`, `too_many_sockets` */
  #check(): void {
    if (this.#gateway.draining) throw draining()
    const { maxSockets } = this.#options
    if (this.#connections.size < maxSockets) return
    throw new RejoinError('too_many_sockets', `${maxSockets} sockets are open, the bound`, { retryAfterS: 1 })
  }

  #opened(ws: Ws): void {
    const data = ws.getUserData()
    data.connection = data.speaking.open(ws)
    this.#keepAlive.add(data.connection.out)
    this.#connections.add(data.connection)
  }

  #received(ws: Ws, bytes: Uint8Array): void {
    const { maxFrameBytes } = this.#options
    const { connection } = ws.getUserData()
    if (bytes.byteLength <= maxFrameBytes) connection?.receive(bytes)
    else connection?.out.end(CLOSE.tooBig, `a frame may have ${maxFrameBytes} bytes`)
  }
}
