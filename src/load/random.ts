/**
 * Random numbers that are the same for the same seed (mulberry32): a run can be made again.
 */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 0 … 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** From an exponential distribution: the time to the next of events that come independently of each other. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next())
  }
}
