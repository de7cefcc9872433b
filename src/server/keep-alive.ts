/**
 * One timer for all keep-alives: a wheel whose buckets take turns, each once per period.
 *
 * Ten thousand idle streams then cost a bucket's worth of writes per tick, spread over the period, and no timer each.
 */
export interface Beating {
  beat(): void
}

const BUCKETS = 16

export class KeepAlive {
  readonly #buckets = Array.from({ length: BUCKETS }, () => new Set<Beating>())
  readonly #bucketOf = new WeakMap<Beating, Set<Beating>>()
  readonly #timer: NodeJS.Timeout
  #turn = 0

  constructor(periodMs: number) {
    this.#timer = setInterval(() => this.#tick(), periodMs / BUCKETS).unref()
  }

  /** First beat after one period. */
  add(beating: Beating): void {
    const bucket = this.#bucket(this.#turn + BUCKETS - 1)
    bucket.add(beating)
    this.#bucketOf.set(beating, bucket)
  }

  remove(beating: Beating): void {
    this.#bucketOf.get(beating)?.delete(beating)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    for (const beating of this.#bucket(this.#turn)) beating.beat()
    this.#turn++
  }

  #bucket(turn: number): Set<Beating> {
    return this.#buckets[turn % BUCKETS] as Set<Beating>
  }
}
