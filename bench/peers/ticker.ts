/**
 * The peers' model: tokens of many streams, said when they fall due, from one loop in the main thread.
 *
 * It is as cheap as it can be for whoever listens: one timer for all streams, not one each, and the words and pace of the
 * gateway's scripted model. Streams with a rate are said in the order in which their tokens fell due; streams without one say
 * a token per turn of the event loop. A turn has a bound, so that sockets are served between two of them, and a stream
 * whose socket is full says nothing until it is resumed: then it catches up, and its stamps tell how late it is.
 */
import { monotonicUs } from '../../src/core/clock.js'
import { DueHeap } from '../../src/model/due-heap.js'
import { type Script, ScriptWords } from '../../src/model/script.js'

const MAX_STREAMS = 16_384
const TOKENS_PER_TURN = 256

export interface Listener {
  /** @returns whether it takes more at once; if not, it says `resume` when it does */
  token(seq: number, text: string): boolean
  end(seq: number): void
}

export interface Stream {
  resume(): void
  /** Nothing more is said. */
  stop(): void
}

type Row = { slot: number; script: Script; words: ScriptWords; listener: Listener; startUs: number; next: number }

export class Ticker {
  readonly #free = Array.from({ length: MAX_STREAMS }, (_, i) => MAX_STREAMS - 1 - i)
  readonly #rows: (Row | undefined)[] = []
  readonly #due = new DueHeap(MAX_STREAMS)
  readonly #eager = new Set<Row>()
  #timer: NodeJS.Timeout | undefined
  #turning = false

  /** The first token comes in a later turn. */
  start(script: Script, listener: Listener): Stream {
    const slot = this.#free.pop()
    if (slot === undefined) throw new Error(`more than ${MAX_STREAMS} streams`)
    const row = { slot, script, words: new ScriptWords(script, 0), listener, startUs: monotonicUs(), next: 0 }
    this.#rows[slot] = row
    this.#wait(row)
    this.#wake()
    return {
      resume: () => {
        if (this.#rows[slot] !== row) return
        this.#wait(row)
        this.#wake()
      },
      stop: () => this.#forget(row),
    }
  }

  #wait(row: Row): void {
    const { slot, script, startUs, next } = row
    if (script.rate > 0) this.#due.set(slot, startUs + (next * 1e6) / script.rate)
    else this.#eager.add(row)
  }

  #forget(row: Row): void {
    if (this.#rows[row.slot] !== row) return
    this.#rows[row.slot] = undefined
    this.#due.delete(row.slot)
    this.#eager.delete(row)
    this.#free.push(row.slot)
  }

  #wake(): void {
    if (this.#turning) return
    this.#turning = true
    clearTimeout(this.#timer)
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    const now = monotonicUs()
    for (let said = 0; this.#due.firstDue <= now && said < TOKENS_PER_TURN; said++) {
      this.#say(this.#rows[this.#due.first] as Row, this.#due.firstDue)
    }
    for (const row of this.#eager) this.#say(row, row.script.stamp ? monotonicUs() : 0)
    this.#turning = false
    const waitMs = this.#eager.size > 0 ? 0 : (this.#due.firstDue - monotonicUs()) / 1000
    if (waitMs <= 0) this.#wake()
    else if (waitMs < Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.#wake(), waitMs)
  }

  #say(row: Row, dueUs: number): void {
    const { listener, script, words } = row
    if (row.next < script.tokens) {
      const takesMore = listener.token(row.next + 1, words.take(dueUs))
      row.next++
      if (this.#rows[row.slot] !== row) return
      if (!takesMore) {
        this.#due.delete(row.slot)
        this.#eager.delete(row)
        return
      }
    }
    if (row.next === script.tokens) {
      this.#forget(row)
      listener.end(row.next + 1)
    } else if (script.rate > 0) this.#wait(row)
  }
}
