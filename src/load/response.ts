/**
 * HTTP/1.1 responses, one after another, from the pieces in which they arrive (RFC 9112): status, headers, and the body as
 * pieces of what was received, chunked or of a given length.
 */
export interface ResponseSink {
  head(status: number, headers: ReadonlyMap<string, string>): void
  body(bytes: Buffer): void
  /** The response is whole. */
  end(): void
}

type State = 'head' | 'sized' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer'

const MAX_LINE_BYTES = 65_536

export class ResponseParser {
  readonly #sink: ResponseSink
  #state: State = 'head'
  /** The beginning of a line, or of a head, whose rest has not come. */
  #part = ''
  /** Bytes of the body, or of its chunk, that are to come. */
  #left = 0

  constructor(sink: ResponseSink) {
    this.#sink = sink
  }

  /** @throws Error when it is no response */
  take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) at = this.#step(bytes, at)
  }

  /** Returns where it goes on. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#line(bytes, at, '\r\n\r\n', (head) => this.#begin(head))
      case 'chunk-size':
        return this.#line(bytes, at, '\r\n', (line) => {
          this.#left = Number.parseInt(line, 16)
          if (!(this.#left >= 0)) throw new Error(`a chunk of ${JSON.stringify(line.slice(0, 20))} bytes`)
          this.#state = this.#left === 0 ? 'trailer' : 'chunk'
        })
      case 'chunk-end':
        return this.#line(bytes, at, '\r\n', () => {
          this.#state = 'chunk-size'
        })
      case 'trailer':
        return this.#line(bytes, at, '\r\n', (line) => {
          if (line === '') this.#end()
        })
      case 'sized':
      case 'chunk': {
        const end = Math.min(bytes.length, at + this.#left)
        this.#left -= end - at
        this.#sink.body(bytes.subarray(at, end))
        if (this.#left > 0) return end
        if (this.#state === 'chunk') this.#state = 'chunk-end'
        else this.#end()
        return end
      }
      default:
        return this.#state satisfies never
    }
  }

  #line(bytes: Buffer, at: number, end: string, whole: (line: string) => void): number {
    // The end itself may be split.
    const carried = this.#part.length
    if (carried === 0) {
      const found = bytes.indexOf(end, at, 'latin1')
      if (found >= 0) {
        whole(bytes.toString('latin1', at, found))
        return found + end.length
      }
    }
    const text = this.#part + bytes.toString('latin1', at)
    const found = text.indexOf(end)
    if (found < 0) {
      if (text.length > MAX_LINE_BYTES) throw new Error(`a line of over ${MAX_LINE_BYTES} bytes`)
      this.#part = text
      return bytes.length
    }
    this.#part = ''
    whole(text.slice(0, found))
    return at + found + end.length - carried
  }

  #begin(head: string): void {
    const [first = '', ...lines] = head.split('\r\n')
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1])
    if (!status) throw new Error(`no response: ${JSON.stringify(first.slice(0, 80))}`)
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    this.#sink.head(status, headers)
    if (/chunked/i.test(headers.get('transfer-encoding') ?? '')) {
      this.#state = 'chunk-size'
      return
    }
    this.#left = Number(headers.get('content-length') ?? 0)
    this.#state = 'sized'
    if (this.#left === 0) this.#end()
  }

  #end(): void {
    this.#state = 'head'
    this.#sink.end()
  }
}
