/**
 * One timer for all keep-alives: a wheel whose buckets take turns, each once per period.
 *
 * Ten thousand idle streams then cost a bucket's worth of writes per tick, spread over the period, and no timer each.
 */
export interface Beating {
  /** For the wheel alone: the bucket that it is in. */
  bucket: number
  beat(): void
}

const BUCKETS = 16

export class KeepAlive {
  readonly #buckets = Array.from({ length: BUCKETS }, () => new Set<Beating>())
  readonly #timer: NodeJS.Timeout
  #turn = 0

  constructor(periodMs: number) {
    this.#timer = setInterval(() => this.#tick(), periodMs / BUCKETS).unref()
  }

  /** First beat after one period. */
  add(beating: Beating): void {
    beating.bucket = (this.#turn + BUCKETS - 1) % BUCKETS
    this.#buckets[beating.bucket]?.add(beating)
  }

  remove(beating: Beating): void {
    this.#buckets[beating.bucket]?.delete(beating)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    for (const beating of this.#buckets[this.#turn % BUCKETS] ?? []) beating.beat()
    this.#turn++
  }
}
