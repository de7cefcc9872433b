/**
 * The cable: pulled, it ends every connection and lets none be made, until it is in again.
 */
export class Plug {
  #pull = new AbortController()
  #in: () => void = () => {}
  #plugged: Promise<void> = Promise.resolve()

  get pulled(): boolean {
    return this.#pull.signal.aborted
  }

  pull(): void {
    if (this.pulled) return
    this.#plugged = new Promise((resolve) => {
      this.#in = resolve
    })
    this.#pull.abort()
  }

  plugIn(): void {
    if (!this.pulled) return
    this.#pull = new AbortController()
    this.#in()
  }

  /** Resolves when it is in, or when the signal aborts. */
  plugged(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      void this.#plugged.then(resolve)
    })
  }

  /** Aborts with the signal, and when the plug is pulled. */
  guard(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#pull.signal])
  }
}
