/**
 * Server-sent events from the pieces of a stream (WHATWG HTML, section 9.2), as bytes: each event's `data`, and comments
 * passed over. Streams whose lines end with LF, as all servers of this kind send them; CR LF is understood, too.
 */
const LF = 0x0a
const CR = 0x0d
const DATA = Buffer.from('data:')

export class SseScanner {
  /** A line whose end has not come. */
  #part: Buffer | null = null
  readonly #event: (data: Buffer) => void

  /** @param event `data` of one event, lent until it returns; an event of several data lines is given line by line */
  constructor(event: (data: Buffer) => void) {
    this.#event = event
  }

  take(bytes: Buffer): void {
    let at = 0
    for (let end = bytes.indexOf(LF, at); end >= 0; end = bytes.indexOf(LF, at)) {
      const line = bytes.subarray(at, end)
      at = end + 1
      if (this.#part === null) this.#line(line)
      else {
        const whole = Buffer.concat([this.#part, line])
        this.#part = null
        this.#line(whole)
      }
    }
    if (at === bytes.length) return
    const rest = bytes.subarray(at)
    this.#part = this.#part === null ? Buffer.from(rest) : Buffer.concat([this.#part, rest])
  }

  #line(line: Buffer): void {
    if (line.length < DATA.length || line[0] !== DATA[0] || !line.subarray(0, DATA.length).equals(DATA)) return
    const from = line[DATA.length] === 0x20 ? DATA.length + 1 : DATA.length
    const to = line[line.length - 1] === CR ? line.length - 1 : line.length
    this.#event(line.subarray(from, to))
  }
}
