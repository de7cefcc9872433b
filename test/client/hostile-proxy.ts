/**
 * A network that is against the client: an HTTP proxy that refuses WebSockets, keeps or cuts event streams, cuts
 * whatever it likes, or demands a key.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TestContext } from 'node:test'
import { WebSocketServer } from 'ws'

export type Hostility = {
  /** WebSockets are answered with 403. */
  refuseUpgrades?: boolean
  /** An event stream is let through whole only when it has ended. */
  holdStreams?: boolean
  /** An event stream is cut after so many bytes. */
  streamBytes?: number
  /** An event stream is cut after so long. */
  streamMs?: number
  /** Any answer, or WebSocket, is cut after so many bytes; asked for each. */
  bytes?: () => number
  /** After so many bytes a WebSocket carries nothing more, either way, and nobody is told. */
  silentAfter?: number
  /** What a WebSocket carries arrives so much later, either way. */
  delayMs?: number
  /** The first WebSocket is closed with that, at its first frame. */
  closeCode?: number
  /** Every request must bring it, and a WebSocket a ticket. */
  key?: string
  /** Paths that need none. */
  openPaths?: string[]
}

export class HostileProxy {
  hostility: Hostility
  /** Paths of the requests and upgrades that came. */
  readonly seen: string[] = []
  upgrades = 0
  cuts = 0
  readonly #port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #tickets = new Set<string>()
  readonly #closer = new WebSocketServer({ noServer: true })

  /** Before the gateway at `url`; ends with the test. */
  static async start(t: TestContext, url: string, hostility: Hostility = {}): Promise<HostileProxy> {
    const proxy = new HostileProxy(Number(new URL(url).port), hostility)
    t.after(() => proxy.close())
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  private constructor(port: number, hostility: Hostility) {
    this.#port = port
    this.hostility = hostility
    this.#server = createServer((req, res) => this.#pass(req, res))
    this.#server.on('upgrade', (req, socket, head) => this.#upgrade(req, socket, head))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** How often a path of that beginning was asked for. */
  count(path: string): number {
    return this.seen.filter((seen) => seen.startsWith(path)).length
  }

  /** Every connection that is open now. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.#server.close()
    this.cutAll()
  }

  #pass(req: IncomingMessage, res: ServerResponse): void {
    const { method = 'GET', url = '/', headers } = req
    this.seen.push(`${method} ${url}`)
    const { key, openPaths = [], holdStreams, streamBytes, streamMs, bytes } = this.hostility
    const open = openPaths.some((path) => url === path || (path.length > 1 && url.startsWith(path)))
    if (key !== undefined && !open && headers.authorization !== `Bearer ${key}`) {
      refuse(res, 401, 'unauthorized')
      return
    }
    if (key !== undefined && url === '/v1/tickets') {
      const ticket = `ticket${this.#tickets.size}`
      this.#tickets.add(ticket)
      res.end(JSON.stringify({ ticket, expires_at: Date.now() + 60_000 }))
      return
    }
    const upstream = request({ port: this.#port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      const stream = answer.headers['content-type'] === 'text/event-stream'
      if (stream && holdStreams) return hold(answer, res)
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      const limit = Math.min(bytes?.() ?? Number.POSITIVE_INFINITY, stream ? (streamBytes ?? Infinity) : Infinity)
      this.#limit(answer, res, limit, () => res.socket?.destroy())
      if (stream && streamMs !== undefined) {
        const timer = setTimeout(() => {
          this.cuts++
          res.socket?.destroy()
        }, streamMs)
        answer.on('close', () => clearTimeout(timer))
      }
      answer.on('end', () => res.end())
      answer.on('error', () => res.socket?.destroy())
    })
    upstream.on('error', () => res.socket?.destroy())
    res.on('close', () => upstream.destroy())
    req.pipe(upstream)
  }

  #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    const url = req.url ?? '/'
    this.seen.push(`UPGRADE ${url}`)
    const { refuseUpgrades, bytes, silentAfter, delayMs = 0, key } = this.hostility
    const ticket = new URL(url, 'http://x').searchParams.get('ticket')
    if (refuseUpgrades || (key !== undefined && !this.#tickets.delete(ticket ?? ''))) {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
      return
    }
    this.upgrades++
    const { closeCode } = this.hostility
    if (closeCode !== undefined && this.upgrades === 1) {
      this.#closer.handleUpgrade(req, socket, head, (opened) => opened.once('message', () => opened.close(closeCode)))
      return
    }
    const upstream = connect(this.#port, '127.0.0.1', () => {
      const lines = req.rawHeaders.flatMap((text, at, all) => (at % 2 === 0 ? [`${text}: ${all[at + 1]}`] : []))
      upstream.write(`GET ${url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
      upstream.write(head)
    })
    let silent = false
    const end = (): void => {
      if (silentAfter === undefined) socket.destroy()
      silent = true
    }
    const late = (act: () => unknown): unknown => (delayMs === 0 ? act() : setTimeout(act, delayMs))
    this.#limit(
      upstream,
      { write: (chunk) => late(() => socket.write(chunk)) },
      silentAfter ?? bytes?.() ?? Infinity,
      end,
    )
    socket.on('data', (chunk: Buffer) => silent || late(() => upstream.write(chunk)))
    socket.on('close', () => upstream.destroy())
    upstream.on('close', () => socket.destroy())
    socket.on('error', () => {})
    upstream.on('error', () => {})
  }

  #limit(from: NodeJS.ReadableStream, to: { write: (chunk: Buffer) => unknown }, bytes: number, cut: () => void): void {
    let left = bytes
    from.on('data', (chunk: Buffer) => {
      if (left <= 0) return
      to.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left > 0) return
      this.cuts++
      cut()
    })
  }
}

function hold(answer: IncomingMessage, res: ServerResponse): void {
  const chunks: Buffer[] = []
  answer.on('data', (chunk: Buffer) => chunks.push(chunk))
  answer.on('error', () => {})
  answer.on('end', () => {
    res.writeHead(answer.statusCode ?? 502, { 'content-type': 'text/event-stream' })
    res.end(Buffer.concat(chunks))
  })
}

function refuse(res: ServerResponse, status: number, code: string): void {
  res.writeHead(status, { 'content-type': 'application/json' })
  res.end(JSON.stringify({ error: { message: code, type: 'authentication_error', code, param: null } }))
}
