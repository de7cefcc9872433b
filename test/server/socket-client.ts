/**
 * A WebSocket client that keeps what arrives until somebody asks for it, in either of the two formats.
 */
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { pack, unpack } from 'msgpackr'
import WebSocket from 'ws'

export type Format = 'json' | 'msgpack'
export type Frame = Record<string, unknown>

const MAX_WAIT_MS = 10_000

export class SocketClient {
  readonly ws: WebSocket
  /** The code and reason of the close frame. */
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #format: Format
  readonly #frames: Frame[] = []
  #wake: () => void = () => {}

  /** Ends with the test. */
  static async open(t: TestContext, url: string, format: Format = 'json'): Promise<SocketClient> {
    const ws = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, `rejoin.v1.${format}`)
    t.after(() => ws.terminate())
    const client = new SocketClient(ws, format)
    await once(ws, 'open')
    return client
  }

  private constructor(ws: WebSocket, format: Format) {
    this.ws = ws
    this.#format = format
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    ws.on('error', () => {})
    ws.on('message', (data: Buffer, binary) => {
      if (binary !== (format === 'msgpack')) throw new Error(`a ${binary ? 'binary' : 'text'} frame in ${format}`)
      this.#frames.push((binary ? unpack(data) : JSON.parse(data.toString())) as Frame)
      this.#wake()
    })
  }

  send(value: unknown): void {
    this.ws.send(this.#format === 'json' ? JSON.stringify(value) : pack(value))
  }

  /** The next frame that fits; those before it are kept, in order. */
  async next(fits: (frame: Frame) => boolean = () => true): Promise<Frame> {
    const until = Date.now() + MAX_WAIT_MS
    while (true) {
      const at = this.#frames.findIndex(fits)
      if (at >= 0) return this.#frames.splice(at, 1)[0] as Frame
      await this.#arrival(until)
    }
  }

  /** All frames up to the one that fits, which is the last. */
  async until(fits: (frame: Frame) => boolean): Promise<Frame[]> {
    const until = Date.now() + MAX_WAIT_MS
    while (true) {
      const at = this.#frames.findIndex(fits)
      if (at >= 0) return this.#frames.splice(0, at + 1)
      await this.#arrival(until)
    }
  }

  /** What has arrived when the gateway has answered everything that was sent before. */
  async flushed(): Promise<Frame[]> {
    const ref = `flushed ${Math.random()}`
    this.send({ type: 'ping', ref })
    return (await this.until((frame) => frame.ref === ref)).slice(0, -1)
  }

  #arrival(until: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = (): void =>
        reject(new Error(`nothing that fits within ${MAX_WAIT_MS} ms; there is ${JSON.stringify(this.#frames)}`))
      const timer = setTimeout(late, until - Date.now())
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
