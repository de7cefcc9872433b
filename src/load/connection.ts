/**
 * A TCP or TLS connection that costs little: one buffer for all connections is read into, so that a read makes no object
 * and no event of a stream. What it holds is gone when the callback returns.
 */
import { connect as connectTcp, type OnReadOpts, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

export interface Sink {
  /** `bytes` is lent until this returns. */
  bytes(bytes: Buffer): void
  /** Nothing follows. `reason`: why it broke, null when the other side ended it. */
  closed(reason: string | null): void
}

const SHARED = Buffer.allocUnsafeSlow(262_144)
const CONNECT_MS = 10_000
/** A slow one takes so many bytes, then rests. */
const SLOW = { bytes: 512, restMs: 250 }

export class Connection {
  readonly #socket: Socket
  #rest: NodeJS.Timeout | undefined
  #open = true

  /** Writes may be made at once; they wait for the connection. */
  constructor(url: URL, sink: Sink, slow = false) {
    const secure = url.protocol === 'https:' || url.protocol === 'wss:'
    const host = url.hostname.replace(/^\[|\]$/g, '')
    const onread = {
      buffer: slow ? Buffer.allocUnsafeSlow(SLOW.bytes) : SHARED,
      callback: (count: number, buffer: Uint8Array): boolean => {
        if (this.#open) sink.bytes(Buffer.from(buffer.buffer, buffer.byteOffset, count))
        if (slow) this.#takeRest()
        return !slow
      },
    }
    const port = Number(url.port || (secure ? 443 : 80))
    // The typings of TLS miss `onread`, which its documentation has.
    const tls: ConnectionOptions & { onread: OnReadOpts } = { host, port, servername: host, onread }
    this.#socket = secure ? connectTls(tls) : connectTcp({ host, port, onread })
    this.#socket.setNoDelay(true)
    this.#socket.setTimeout(CONNECT_MS, () => this.#end(sink, 'no connection within 10 s'))
    this.#socket.once(secure ? 'secureConnect' : 'connect', () => this.#socket.setTimeout(0))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(sink, error.code ?? error.message))
    this.#socket.on('close', () => this.#end(sink, null))
  }

  write(data: string | Uint8Array): void {
    if (this.#open) this.#socket.write(data)
  }

  /** At once, and without a word to the sink. */
  destroy(): void {
    this.#open = false
    clearTimeout(this.#rest)
    this.#socket.destroy()
  }

  #takeRest(): void {
    this.#rest = setTimeout(() => this.#socket.resume(), SLOW.restMs)
  }

  #end(sink: Sink, reason: string | null): void {
    if (!this.#open) return
    this.destroy()
    sink.closed(reason)
  }
}
