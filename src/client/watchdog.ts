/**
 * A signal that aborts with another one, and when nobody pats the dog in time.
 */
export class Watchdog {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal
  readonly #onAbort = (): void => this.#controller.abort()
  #timer: ReturnType<typeof setTimeout>
  /** It was the dog that aborted. */
  barked = false

  constructor(outer: AbortSignal, ms: number) {
    this.#outer = outer
    if (outer.aborted) this.#controller.abort()
    else outer.addEventListener('abort', this.#onAbort)
    this.#timer = setTimeout(() => this.#bark(), ms)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Everything is well; look again in `ms`. */
  pat(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#bark(), ms)
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#outer.removeEventListener('abort', this.#onAbort)
  }

  #bark(): void {
    this.barked = true
    this.#controller.abort()
  }
}
