/**
 * Waiting between tries: longer from failure to failure, spread at random, and over early when the network comes back.
 */
const FIRST_MS = 250
const MAX_MS = 10_000

/** Exponential with full jitter: a crowd that lost its server at once does not come back at once. */
export class Backoff {
  #failures = 0

  get failures(): number {
    return this.#failures
  }

  /** Ms until the next try: none after the first failure, which may be a hiccup. */
  next(): number {
    const failures = this.#failures++
    if (failures === 0) return 0
    return Math.random() * Math.min(MAX_MS, FIRST_MS * 2 ** failures)
  }

  reset(): void {
    this.#failures = 0
  }
}

/** Pauses that can be ended together. */
export class Pauses {
  readonly #enders = new Set<() => void>()

  /** Resolves after `ms`, on `endAll`, or when the signal aborts. */
  pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#enders.delete(end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end)
      this.#enders.add(end)
    })
  }

  endAll(): void {
    for (const end of this.#enders) end()
  }
}
