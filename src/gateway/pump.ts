/**
 * The connections that are behind, each once, until they have been given a chance to write.
 *
 * A flush of a worker makes many readers fall behind; each only marks its connection. Once per turn of the event
 * loop, when all flushes that had arrived are visible, every marked connection writes once, all that it misses: the
 * number of writes is what costs. An idle loop comes to it at once, a busy one merges more into each write.
 */
export interface Pumpable {
  /** Writes what it misses, as far as its socket takes it; never waits and never throws. */
  pump(): void
}

export class Pump {
  #behind = new Set<Pumpable>()
  #scheduled = false

  mark(connection: Pumpable): void {
    this.#behind.add(connection)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.run())
  }

  /** Gives them that chance now, for those who cannot wait for the turn's end. */
  run(): void {
    this.#scheduled = false
    const behind = this.#behind
    this.#behind = new Set()
    for (const connection of behind) connection.pump()
  }
}
