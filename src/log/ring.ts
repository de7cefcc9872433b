/**
 * Where the last N events of one task end, addressed by the seq they have in the whole log.
 *
 * An event here is 12 bytes: its end in the text (bytes), its end in tokens, and when it was said (ms since
 * the first event). Ends and not lengths, so that any stretch of neighbours is one subtraction. The ring
 * starts small, doubles up to its bound, then reuses its oldest slot; seq only grows, so an append is O(1).
 * What it overwrote it does not know: `has` says so, and the caller must not guess. Events that somebody still has to
 * see are not overwritten: for them it grows over its bound.
 */
import type { Seq } from '../core/event.js'

const FIRST_SLOTS = 16
const COLUMNS = 3

export class Ring {
  readonly #maxSlots: number
  #cells = new Uint32Array(FIRST_SLOTS * COLUMNS)
  #last: Seq = 0
  /** What was before this is not here. */
  #oldest: Seq = 1
  #keepFrom: Seq = Number.POSITIVE_INFINITY

  /** `maxSlots` is rounded up to a power of two, so that a slot is a mask of the seq. */
  constructor(maxSlots: number) {
    this.#maxSlots = 2 ** Math.ceil(Math.log2(Math.max(maxSlots, FIRST_SLOTS)))
  }

  get last(): Seq {
    return this.#last
  }

  /** The oldest seq still here; `last + 1` when empty. */
  get first(): Seq {
    return Math.max(this.#oldest, this.#last - this.#slots + 1)
  }

  /** Bytes of memory. */
  get capacity(): number {
    return this.#cells.byteLength
  }

  has(seq: Seq): boolean {
    return seq >= this.first && seq <= this.#last
  }

  append(textEnd: number, tokenEnd: number, at: number): Seq {
    const slots = this.#slots
    const overwritten = this.#last + 1 - slots
    if (overwritten >= this.#oldest && (slots < this.#maxSlots || overwritten >= this.#keepFrom)) this.#grow()
    this.#last++
    const cell = this.#cell(this.#last)
    this.#cells[cell] = textEnd
    this.#cells[cell + 1] = tokenEnd
    this.#cells[cell + 2] = at
    return this.#last
  }

  /** This event and those after it are not overwritten from now on. */
  keepFrom(seq: Seq): void {
    this.#keepFrom = seq
  }

  /** The columns of the oldest seq still here and all after it, side by side: 12 bytes each. */
  dump(): Uint32Array {
    const from = this.#cell(this.first)
    const used = (this.#last - this.first + 1) * COLUMNS
    const head = this.#cells.subarray(from, Math.min(from + used, this.#cells.length))
    const cells = new Uint32Array(used)
    cells.set(head)
    cells.set(this.#cells.subarray(0, used - head.length), head.length)
    return cells
  }

  /** The ring that `dump` came from, or the newest part of it that fits; `last` is its newest seq. */
  static restore(maxSlots: number, last: Seq, cells: Uint32Array): Ring {
    const ring = new Ring(maxSlots)
    ring.#last = last - cells.length / COLUMNS
    ring.#oldest = ring.#last + 1
    for (let at = 0; at < cells.length; at += COLUMNS) {
      ring.append(cells[at] as number, cells[at + 1] as number, cells[at + 2] as number)
    }
    return ring
  }

  textEnd(seq: Seq): number {
    return this.#cells[this.#cell(seq)] as number
  }

  tokenEnd(seq: Seq): number {
    return this.#cells[this.#cell(seq) + 1] as number
  }

  at(seq: Seq): number {
    return this.#cells[this.#cell(seq) + 2] as number
  }

  /** The last seq in [low, high] whose text ends at or before `textEnd`, or `low` when none does. O(log n). */
  lastWithin(textEnd: number, low: Seq, high: Seq): Seq {
    return this.#search((seq) => this.textEnd(seq) <= textEnd, low, high)
  }

  /** As `lastWithin`, for tokens. */
  lastWithinTokens(tokenEnd: number, low: Seq, high: Seq): Seq {
    return this.#search((seq) => this.tokenEnd(seq) <= tokenEnd, low, high)
  }

  /** The last seq that is `within`, where all before it are, too. */
  #search(within: (seq: Seq) => boolean, low: Seq, high: Seq): Seq {
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (within(middle)) low = middle
      else high = middle - 1
    }
    return low
  }

  get #slots(): number {
    return this.#cells.length / COLUMNS
  }

  #cell(seq: Seq): number {
    return ((seq - 1) & (this.#slots - 1)) * COLUMNS
  }

  #grow(): void {
    const from = this.first
    const kept = this.dump()
    this.#oldest = from
    this.#cells = new Uint32Array(this.#cells.length * 2)
    for (let at = 0; at < kept.length; at += COLUMNS) {
      this.#cells.set(kept.subarray(at, at + COLUMNS), this.#cell(from + at / COLUMNS))
    }
  }
}
