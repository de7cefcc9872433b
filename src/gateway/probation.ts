/**
 * Who may start beside whom, so that a thread that dies tells who killed it.
 *
 * A suspect is a run whose last attempt ended before it brought a token: it may be what the thread died of. It starts
 * only when every run with a slot has said something there, and until it has done so itself nothing else starts. So
 * whoever kills its thread loses that attempt alone, and the innocent prove themselves one by one. Each holds up the
 * others for a bounded time, since a first token may be long in coming.
 */
import { isSuspect, type Run } from './run.js'

/** For a first token. */
const PROBATION_MS = 10_000

export class Probation {
  /** They have a slot, and have said nothing since they got it. */
  readonly #silent = new Set<Run>()
  readonly #over: () => void
  #suspect: Run | null = null
  /** Set while somebody is held up, or would be. */
  #timer: NodeJS.Timeout | undefined

  /** @param over time is up: those who were held up may start */
  constructor(over: () => void) {
    this.#over = over
  }

  /** Nothing may start. */
  get active(): boolean {
    return this.#suspect !== null
  }

  /** Somebody may not start: it must be asked again when this has become false. */
  get holding(): boolean {
    return this.#timer !== undefined
  }

  mayStart(run: Run): boolean {
    if (!this.active && (this.#silent.size === 0 || !isSuspect(run))) return true
    this.#hold()
    return false
  }

  /** It has a slot. Told before its new attempt is counted as one. */
  started(run: Run): void {
    this.#silent.add(run)
    if (!isSuspect(run)) return
    this.#suspect = run
    this.#hold()
  }

  /** It has said a token, or has left its slot. */
  proved(run: Run): void {
    if (!this.#silent.delete(run)) return
    if (run === this.#suspect) this.#suspect = null
    if (this.#silent.size === 0) this.#release()
  }

  close(): void {
    this.#release()
  }

  #hold(): void {
    this.#timer ??= setTimeout(() => {
      this.#silent.clear()
      this.#suspect = null
      this.#release()
      this.#over()
    }, PROBATION_MS).unref()
  }

  #release(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
