/**
 * How many tokens of its task a connection has had.
 *
 * The gateway says `queued` and `started` first, and `progress` at each quarter. Where exactly a quarter is said depends on how tokens
 * came together, so in the midst of a task this may be off by a few for a moment; at its end it is exact.
 */
import { EventScan } from './event-scan.js'
import type { Others } from './job.js'

export class TaskCount {
  readonly #scan: EventScan
  readonly #others: Others
  #tokens = 0
  #got = 0
  #ended = false

  constructor(format: 'json' | 'msgpack', others: Others) {
    this.#scan = new EventScan(format)
    this.#others = others
  }

  get got(): number {
    return this.#got
  }

  /** Whether its terminal event has come. */
  get ended(): boolean {
    return this.#ended
  }

  /** @param tokens of the whole task */
  begin(tokens: number): void {
    this.#tokens = tokens
    this.#got = 0
    this.#ended = false
  }

  /** Looks at `buffer[from … to)`, which begins with the last TAIL_BYTES of the task that were looked at; returns how many tokens are new. */
  look(buffer: Buffer, from: number, to: number): number {
    if (!this.#scan.find(buffer, from, to)) return 0
    this.#ended = this.#scan.terminal
    const got = this.#until(this.#scan.seq, this.#ended)
    const more = Math.max(0, got - this.#got)
    this.#got += more
    return more
  }

  #until(seq: number, terminal: boolean): number {
    const { before, among } = this.#others
    const tokens = this.#tokens
    if (terminal) return seq - before - 1 - (tokens > 0 ? among : 0)
    const events = Math.max(0, seq - before)
    let passed = 0
    while (passed < among && Math.ceil(((passed + 1) * tokens) / among) + passed + 1 <= events) passed++
    return events - passed
  }
}
