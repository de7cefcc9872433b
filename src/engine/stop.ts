/**
 * Finds stop strings in an answer before any part of them is sent, also across token borders.
 *
 * A piece whose end could be the beginning of a stop string is held back until the next pieces decide. Pieces are
 * held and released whole, so that the token ids that are recorded always spell the text that was shown.
 */
export type Piece = { text: string; ids: number[] }

export class StopScanner {
  readonly #stops: string[]
  #held: Piece[] = []
  #heldText = ''

  constructor(stops: string[]) {
    this.#stops = stops
  }

  /** Returns what may be sent now. `stopped` is final: the text before the stop string is all there is. */
  push(piece: Piece): { pieces: Piece[]; stopped: boolean } {
    this.#held.push(piece)
    this.#heldText += piece.text
    const at = this.#firstStop()
    if (at >= 0) return { pieces: this.#cut(at), stopped: true }
    return { pieces: this.#releaseUpTo(this.#safeLength()), stopped: false }
  }

  /** The answer ended by itself: what was held is text after all. */
  flush(): Piece[] {
    const pieces = this.#held
    this.#held = []
    this.#heldText = ''
    return pieces
  }

  #firstStop(): number {
    let first = -1
    for (const stop of this.#stops) {
      const at = this.#heldText.indexOf(stop)
      if (at >= 0 && (first < 0 || at < first)) first = at
    }
    return first
  }

  /** How much of the held text no stop string can begin in. */
  #safeLength(): number {
    let safe = this.#heldText.length
    for (const stop of this.#stops) {
      for (let from = Math.max(0, this.#heldText.length - stop.length + 1); from < safe; from++) {
        if (stop.startsWith(this.#heldText.slice(from))) safe = from
      }
    }
    return safe
  }

  #releaseUpTo(length: number): Piece[] {
    let end = 0
    let count = 0
    for (const { text } of this.#held) {
      if (end + text.length > length) break
      end += text.length
      count++
    }
    this.#heldText = this.#heldText.slice(end)
    return this.#held.splice(0, count)
  }

  // The tokens that spelt the stop string count as generated, and their text ends where it began.
  #cut(at: number): Piece[] {
    const text = this.#heldText.slice(0, at)
    const ids = this.flush().flatMap((piece) => piece.ids)
    return [{ text, ids }]
  }
}
