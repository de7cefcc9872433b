/**
 * Which slot falls due next: a binary heap of slots ordered by time.
 *
 * A slot is in the heap at most once; its place is kept beside it, so that a slot can leave (a cancel) or be given
 * another time without a search. Every operation is O(log slots), and nothing is allocated after the constructor:
 * thousands of slots at tens of tokens a second each go through here.
 */
export class DueHeap {
  readonly #heap: Int32Array
  /** Per slot: its index in the heap, or -1. */
  readonly #at: Int32Array
  readonly #due: Float64Array
  #size = 0

  constructor(slots: number) {
    this.#heap = new Int32Array(slots)
    this.#at = new Int32Array(slots).fill(-1)
    this.#due = new Float64Array(slots)
  }

  /** The slot that falls due first, or -1. */
  get first(): number {
    return this.#size > 0 ? this.#slot(0) : -1
  }

  /** When `first` falls due; Infinity when the heap is empty. */
  get firstDue(): number {
    return this.#size > 0 ? this.#time(this.#slot(0)) : Number.POSITIVE_INFINITY
  }

  /** Adds a slot, or gives it another time. */
  set(slot: number, due: number): void {
    if (this.#at[slot] === -1) this.#place(slot, this.#size++)
    this.#due[slot] = due
    this.#up(slot)
    this.#down(slot)
  }

  delete(slot: number): void {
    const at = this.#at[slot] ?? -1
    if (at < 0) return
    this.#at[slot] = -1
    const last = this.#slot(--this.#size)
    if (last === slot) return
    this.#place(last, at)
    this.#up(last)
    this.#down(last)
  }

  #up(slot: number): void {
    const due = this.#time(slot)
    let at = this.#at[slot] as number
    while (at > 0) {
      const parent = this.#slot((at - 1) >> 1)
      if (this.#time(parent) <= due) break
      this.#place(parent, at)
      at = (at - 1) >> 1
    }
    this.#place(slot, at)
  }

  #down(slot: number): void {
    const due = this.#time(slot)
    let at = this.#at[slot] as number
    while (true) {
      let child = 2 * at + 1
      if (child >= this.#size) break
      if (child + 1 < this.#size && this.#time(this.#slot(child + 1)) < this.#time(this.#slot(child))) child++
      const smaller = this.#slot(child)
      if (this.#time(smaller) >= due) break
      this.#place(smaller, at)
      at = child
    }
    this.#place(slot, at)
  }

  #place(slot: number, at: number): void {
    this.#heap[at] = slot
    this.#at[slot] = at
  }

  // Indexes below #size and slots in the heap are always in range.
  #slot(at: number): number {
    return this.#heap[at] as number
  }

  #time(slot: number): number {
    return this.#due[slot] as number
  }
}
