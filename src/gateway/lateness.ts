/**
 * How late events are handed to the kernel, in buckets that grow with the time: what is recorded costs a few nanoseconds,
 * and a percentile is right to some 6 %.
 *
 * It forgets: what it tells is of the last 10 to 20 seconds.
 */
const WINDOW_MS = 10_000
/** Of the shortest time that is told apart from none. */
const FIRST_MS = 0.01
/** Buckets to a doubling. */
const STEPS = 12
const BUCKETS = 24 * STEPS

export class Lateness {
  #now = new Uint32Array(BUCKETS)
  #before = new Uint32Array(BUCKETS)
  #until = 0

  /** @param nowMs of a clock that does not go back */
  record(ms: number, nowMs: number): void {
    if (nowMs >= this.#until) this.#turn(nowMs)
    const bucket = ms <= FIRST_MS ? 0 : Math.min(BUCKETS - 1, Math.ceil(Math.log2(ms / FIRST_MS) * STEPS))
    this.#now[bucket] = (this.#now[bucket] as number) + 1
  }

  /** Ms, at the most, of such a part (0 … 1) of what was recorded lately; 0 when nothing was. */
  quantile(part: number, nowMs: number): number {
    if (nowMs >= this.#until) this.#turn(nowMs)
    let total = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) total += this.#count(bucket)
    let seen = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#count(bucket)
      if (seen > 0 && seen >= part * total) return FIRST_MS * 2 ** (bucket / STEPS)
    }
    return 0
  }

  #count(bucket: number): number {
    return (this.#now[bucket] as number) + (this.#before[bucket] as number)
  }

  #turn(nowMs: number): void {
    const spare = this.#before
    // After a long silence both are old.
    this.#before = nowMs >= this.#until + WINDOW_MS ? spare : this.#now
    if (this.#before === spare) this.#now.fill(0)
    else this.#now = spare
    spare.fill(0)
    this.#until = nowMs + WINDOW_MS
  }
}
