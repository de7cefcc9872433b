/**
 * Times in buckets that grow with the time, 12 to a doubling: what is recorded costs a few nanoseconds and no memory, and a
 * quantile is right to 6 %.
 */

/** Of the shortest time that is told apart from none, ms. */
const FIRST_MS = 0.01
const STEPS = 12
/** Up to 45 hours; what is longer counts as that. */
const BUCKETS = 34 * STEPS

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)
  count = 0
  /** Exact. */
  max = 0
  sum = 0

  record(ms: number): void {
    const bucket = ms <= FIRST_MS ? 0 : Math.min(BUCKETS - 1, Math.ceil(Math.log2(ms / FIRST_MS) * STEPS))
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.count++
    this.sum += ms
    if (ms > this.max) this.max = ms
  }

  /** Ms, at the most, of such a part (0 … 1) of what was recorded; 0 when nothing was. */
  quantile(part: number): number {
    let seen = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket] as number
      if (seen > 0 && seen >= part * this.count) return Math.min(topOf(bucket), this.max)
    }
    return 0
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count
  }

  /** From the first bucket with something in it to the last: up to how many ms, and how many. */
  buckets(): { toMs: number; count: number }[] {
    const all = Array.from(this.#counts, (count, bucket) => ({ toMs: topOf(bucket), count }))
    const first = all.findIndex(({ count }) => count > 0)
    return first < 0 ? [] : all.slice(first, all.findLastIndex(({ count }) => count > 0) + 1)
  }

  add(other: Histogram): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.#counts[bucket] = (this.#counts[bucket] as number) + (other.#counts[bucket] as number)
    }
    this.count += other.count
    this.sum += other.sum
    this.max = Math.max(this.max, other.max)
  }

  clear(): void {
    this.#counts.fill(0)
    this.count = 0
    this.sum = 0
    this.max = 0
  }
}

const topOf = (bucket: number): number => FIRST_MS * 2 ** (bucket / STEPS)
