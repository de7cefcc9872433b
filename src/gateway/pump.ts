/**
 * The connections that are behind, each once, until they have been given a chance to write.
 *
 * A flush of a worker makes many readers fall behind; each only marks its connection. When the whole flush is
 * visible, every marked connection writes once, all that it misses: the number of writes is what costs.
 */
export interface Pumpable {
  /** Writes what it misses, as far as its socket takes it; never waits and never throws. */
  pump(): void
}

export class Pump {
  #behind = new Set<Pumpable>()

  mark(connection: Pumpable): void {
    this.#behind.add(connection)
  }

  run(): void {
    const behind = this.#behind
    this.#behind = new Set()
    for (const connection of behind) connection.pump()
  }
}
