/**
 * The HTTP and WebSocket server of one gateway.
 */

import uWS from 'uWebSockets.js'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../core/logger.js'
import type { Gateway } from '../gateway/gateway.js'
import { STALL_BEAT_MS, type Streams } from './events.js'
import { KeepAlive } from './keep-alive.js'
import { Metrics } from './metrics.js'
import { NativeApi } from './native.js'
import { OpenAnswers } from './open-answers.js'
import { OpenAiApi } from './openai.js'
import { OpsApi } from './ops.js'
import { Page } from './page.js'
import { absentFor } from './received.js'
import { ResponsesApi } from './responses.js'
import { speakResponses } from './responses-socket.js'
import { route } from './routes.js'
import { speakNative } from './socket.js'
import { type SocketOptions, Sockets } from './sockets.js'
import { UiChatApi } from './ui-chat.js'

export type ServerOptions = SocketOptions & {
  host: string
  /** 0 = any free one. */
  port: number
  maxBodyBytes: number
  keepAliveMs: number
  /** How long an answer that was asked for by OpenAI's protocol goes on when nobody reads it. */
  openaiGraceMs: number
}

type Listen = (host: string, port: number, options: number, listening: (socket: Listening | false) => void) => void
type Listening = Parameters<typeof uWS.us_socket_local_port>[0]

/** Time for readers that are behind to get the rest, and then for close frames to leave, before sockets are cut. */
const LINGER_MS = { readers: 2000, frames: 100 }

export class Server {
  readonly #options: ServerOptions
  readonly #app = uWS.App()
  readonly #sockets: Sockets
  readonly #streams: Streams

  constructor(options: ServerOptions, gateway: Gateway, logger: Logger) {
    this.#options = options
    const beats = { idle: new KeepAlive(options.keepAliveMs), stalled: new KeepAlive(STALL_BEAT_MS) }
    this.#streams = { answers: new OpenAnswers(), pieceBytes: options.maxUnsentBytes, beats }
    this.#sockets = new Sockets(gateway, beats.idle, options)
    const absent = absentFor(options.openaiGraceMs)
    const native = this.#sockets.behavior((named) => speakNative(named, gateway, options, logger))
    const responses = this.#sockets.behavior(() => speakResponses(gateway, options, absent, logger))
    this.#app.ws('/v1/ws', native).ws('/v1/responses', responses)
    const { maxBodyBytes } = options
    const apis = {
      native: new NativeApi(gateway, this.#streams, maxBodyBytes),
      openai: new OpenAiApi(gateway, this.#streams, maxBodyBytes, absent),
      responses: new ResponsesApi(gateway, this.#streams, maxBodyBytes, absent),
      uiChat: new UiChatApi(gateway, this.#streams, maxBodyBytes),
      ops: new OpsApi(gateway),
      metrics: new Metrics(gateway),
      page: new Page(),
    }
    route(this.#app, apis, logger)
  }

  /** Returns the port. @throws when the address cannot be had */
  listen(): Promise<number> {
    const { host, port } = this.#options
    // The typings miss the constant, and the overload that takes host and options together.
    const native = {
      exclusive: (uWS as unknown as { LIBUS_LISTEN_EXCLUSIVE_PORT: number }).LIBUS_LISTEN_EXCLUSIVE_PORT,
      listen: this.#app.listen as unknown as Listen,
    }
    return new Promise((resolve, reject) => {
      // Exclusive: without it a second process may share the port in silence and take half of the connections.
      native.listen.call(this.#app, host, port, native.exclusive, (socket) => {
        if (socket) resolve(uWS.us_socket_local_port(socket))
        else reject(new Error(`cannot listen on ${host}:${port}: the port is in use or the address is not ours`))
      })
    })
  }

  /** After a drain: nothing more is said, and readers leave when they have seen all of it. */
  async close(): Promise<void> {
    const { answers, beats } = this.#streams
    answers.finish()
    const until = performance.now() + LINGER_MS.readers
    while ((answers.size > 0 || this.#sockets.behind) && performance.now() < until) await sleep(10)
    this.#sockets.close()
    for (const beat of Object.values(beats)) beat.close()
    await sleep(LINGER_MS.frames)
    this.#app.close()
  }
}
