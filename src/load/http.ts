/**
 * One client's HTTP: a connection that is kept between requests, and one request at a time.
 */
import { Connection } from './connection.js'
import { ResponseParser } from './response.js'

export type Request = { method: string; path: string; headers?: Record<string, string>; body?: string }

export type Outcome =
  /** The response is whole. */
  | { type: 'whole'; status: number; headers: ReadonlyMap<string, string> }
  /** The connection was lost before that; `reason` null: by `cut`, or the server ended it. */
  | { type: 'lost'; reason: string | null }

/** What comes of a response as it comes. */
export interface Reading {
  head?(status: number, headers: ReadonlyMap<string, string>): void
  body(bytes: Buffer): void
}

type Exchange = { reading: Reading; resolve: (outcome: Outcome) => void }

export class Http {
  readonly #url: URL
  readonly #headers: string
  readonly #slow: boolean
  #connection: Connection | null = null
  #exchange: Exchange | null = null
  #status = 0
  #answered: ReadonlyMap<string, string> = new Map()

  constructor(url: URL, headers: Record<string, string>, slow: boolean) {
    this.#url = url
    this.#headers = headerLines({ Host: url.host, ...headers })
    this.#slow = slow
  }

  request({ method, path, headers = {}, body }: Request, reading: Reading): Promise<Outcome> {
    const length =
      body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }
    return new Promise((resolve) => {
      this.#exchange = { reading, resolve }
      this.#connection ??= this.#connect()
      this.#connection.write(
        `${method} ${path} HTTP/1.1\r\n${this.#headers}${headerLines({ ...headers, ...length })}\r\n${body ?? ''}`,
      )
    })
  }

  /** Breaks the connection, as a bad network does; false when no response was under way. */
  cut(): boolean {
    const under = this.#exchange !== null
    this.#connection?.destroy()
    this.#lost(null)
    return under
  }

  close(): void {
    this.#connection?.destroy()
    this.#connection = null
  }

  #connect(): Connection {
    const parser = new ResponseParser({
      head: (status, headers) => {
        this.#status = status
        this.#answered = headers
        this.#exchange?.reading.head?.(status, headers)
      },
      body: (bytes) => this.#exchange?.reading.body(bytes),
      end: () => this.#finish({ type: 'whole', status: this.#status, headers: this.#answered }),
    })
    const connection = new Connection(
      this.#url,
      {
        bytes: (bytes) => {
          try {
            parser.take(bytes)
          } catch (error) {
            connection.destroy()
            this.#lost((error as Error).message)
          }
        },
        closed: (reason) => this.#lost(reason),
      },
      this.#slow,
    )
    return connection
  }

  #lost(reason: string | null): void {
    this.#connection = null
    this.#finish({ type: 'lost', reason })
  }

  #finish(outcome: Outcome): void {
    const exchange = this.#exchange
    this.#exchange = null
    if (outcome.type === 'whole' && /close/i.test(outcome.headers.get('connection') ?? '')) this.close()
    exchange?.resolve(outcome)
  }
}

/** As the lines of a request's head. */
export const headerLines = (headers: Record<string, string | number>): string =>
  Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
