/**
 * The connections that are behind, each once, until they have been given a chance to write.
 *
 * The number of socket writes is what costs. So a flush of a worker only marks connections, and a round visits each of
 * them once, in the order in which they fell behind; each writes all that it misses, up to a bounded piece. While the loop
 * has time a round begins at once. When a round was late, the next one waits for as long as that, and what is said
 * meanwhile is merged: half of the loop's time at most goes into writes, and the less often each connection is written,
 * the less they cost. The wait is bounded, and first tokens take no part in any of this: they go out at once.
 *
 * A long round is interrupted, so that requests and cancels have their turn.
 */
import { Lateness } from './lateness.js'

export interface Pumpable {
  /** For the pump alone: since when it waits for its chance, in ms of `performance.now`; 0 when it does not. */
  behindSince: number
  /** Writes what it misses, as far as its socket takes it, up to a piece; marks itself when there is more. Never waits and
   * never throws. */
  pump(): void
}

/** A round that ends within this time from when it was due is on time. */
const ON_TIME_MS = 2
/** Of one turn of the event loop, about. */
const SLICE_MS = 8
/** The clock is looked at after so many connections. */
const STRIDE = 16

export class Pump {
  /** From an event's record to its bytes in the kernel's hands. */
  readonly lateness = new Lateness()
  /** How many chances to write were given. */
  served = 0
  readonly #maxMergeMs: number
  /** Those that are written as soon as this call returns. */
  #urgent: Pumpable[] = []
  /** For the next round. */
  #behind: Pumpable[] = []
  /** The round that is under way, and its next connection. */
  #round: Pumpable[] = []
  #next = 0
  #dueAt = 0
  /** The next round begins then, at the earliest, in ms of `performance.now`. */
  #notBefore = 0
  #immediate = false
  #timer: NodeJS.Timeout | null = null

  /** @param maxMergeMs how long a round waits at most for more to be said */
  constructor(maxMergeMs: number) {
    this.#maxMergeMs = maxMergeMs
  }

  /** @param urgent it has not been given a token yet */
  mark(connection: Pumpable, urgent = false): void {
    if (connection.behindSince > 0) return
    const now = performance.now()
    connection.behindSince = now
    if (urgent) {
      // All that is shown along with this first.
      if (this.#urgent.push(connection) === 1) queueMicrotask(() => this.#hurry())
      return
    }
    this.#behind.push(connection)
    this.#schedule(now)
  }

  /** Gives all of them their chance now, for those who cannot wait. */
  flush(): void {
    this.#hurry()
    for (const waiting of [this.#round.splice(this.#next), this.#behind.splice(0)]) {
      for (const connection of waiting) this.#serve(connection)
    }
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer)
  }

  #hurry(): void {
    for (const connection of this.#urgent.splice(0)) this.#serve(connection)
  }

  /** The next round, as early as it may begin. */
  #schedule(now: number): void {
    if (now >= this.#notBefore) this.#soon()
    else if (!this.#immediate) this.#timer ??= setTimeout(() => this.#run(), this.#notBefore - now)
  }

  #soon(): void {
    if (this.#immediate) return
    this.#immediate = true
    setImmediate(() => {
      this.#immediate = false
      this.#run()
    })
  }

  #run(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    const from = performance.now()
    if (this.#next === this.#round.length && !this.#begin(from)) return
    const until = from + SLICE_MS
    while (this.#next < this.#round.length) {
      this.#serve(this.#round[this.#next++] as Pumpable)
      if (this.#next % STRIDE === 0 && performance.now() >= until) break
    }
    if (this.#next < this.#round.length) this.#soon()
    else this.#end()
  }

  /** False when it is too early, or nobody is behind. */
  #begin(now: number): boolean {
    const [first] = this.#behind
    if (!first) return false
    if (now < this.#notBefore) {
      this.#schedule(now)
      return false
    }
    this.#dueAt = Math.max(first.behindSince, this.#notBefore)
    this.#round = this.#behind
    this.#behind = []
    return true
  }

  #end(): void {
    this.#round = []
    this.#next = 0
    const now = performance.now()
    const late = now - this.#dueAt
    this.#notBefore = late < ON_TIME_MS ? 0 : now + Math.min(late, this.#maxMergeMs)
    if (this.#behind.length > 0) this.#schedule(now)
  }

  #serve(connection: Pumpable): void {
    const since = connection.behindSince
    connection.behindSince = 0
    connection.pump()
    this.served++
    const now = performance.now()
    this.lateness.record(now - since, now)
  }
}
