/**
 * Answers that go on until their task ends, or the gateway does: streams, and requests that wait.
 */
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

  /** While the gateway closes it is told to finish at once. */
  add(answer: OpenAnswer): void {
    this.#open.add(answer)
    if (this.#finishing) answer.finish()
  }

  remove(answer: OpenAnswer): void {
    this.#open.delete(answer)
  }

  finish(): void {
    this.#finishing = true
    for (const answer of this.#open) answer.finish()
  }
}
