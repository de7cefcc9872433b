/**
 * Answers that go on until their task ends, or the gateway does: streams, and requests that wait.
 */
import { draining } from '../gateway/refusals.js'

export interface OpenAnswer {
  /** Ends as soon as it has written all that there is. */
  finish(): void
}

export class OpenAnswers {
  readonly #open = new Set<OpenAnswer>()
  #finishing = false

  get size(): number {
    return this.#open.size
  }

  add(answer: OpenAnswer): void {
    this.#open.add(answer)
  }

  remove(answer: OpenAnswer): void {
    this.#open.delete(answer)
  }

  /** To be asked before one is begun. @throws RejoinError `draining` when they are being finished */
  check(): void {
    if (this.#finishing) throw draining()
  }

  finish(): void {
    this.#finishing = true
    for (const answer of this.#open) answer.finish()
  }
}
