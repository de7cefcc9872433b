/**
 * How late events are handed to the kernel, of the last 10 to 20 seconds: what is longer ago is forgotten.
 */
import { Histogram } from '../core/histogram.js'

const WINDOW_MS = 10_000

export class Lateness {
  #now = new Histogram()
  #before = new Histogram()
  #until = 0

  /** @param nowMs of a clock that does not go back */
  record(ms: number, nowMs: number): void {
    if (nowMs >= this.#until) this.#turn(nowMs)
    this.#now.record(ms)
  }

  /** Ms, at the most, of such a part (0 … 1) of what was recorded lately; 0 when nothing was. */
  quantile(part: number, nowMs: number): number {
    if (nowMs >= this.#until) this.#turn(nowMs)
    const all = new Histogram()
    all.add(this.#before)
    all.add(this.#now)
    return all.quantile(part)
  }

  #turn(nowMs: number): void {
    const old = this.#before
    this.#before = this.#now
    this.#now = old
    this.#now.clear()
    // After a long silence both are old.
    if (nowMs >= this.#until + WINDOW_MS) this.#before.clear()
    this.#until = nowMs + WINDOW_MS
  }
}
