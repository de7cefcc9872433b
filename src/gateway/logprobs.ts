/**
 * The logprobs of one flush, handed out along with the tokens that they belong to.
 *
 * A worker sends them beside its cells, task by task in the order of its tokens, so that the tasks that did not ask for
 * them pay nothing. A model that has none says null for each token.
 */
import type { TokenLogprob } from '../core/event.js'
import type { Handle, WorkerFlush } from '../engine/messages.js'

export class FlushLogprobs {
  readonly #lists = new Map<Handle, { json: string[]; next: number }>()

  constructor(lists: WorkerFlush['logprobs']) {
    for (const [handle, json] of lists) {
      const known = this.#lists.get(handle)
      if (known) known.json.push(...json)
      else this.#lists.set(handle, { json: [...json], next: 0 })
    }
  }

  /** Those of the next `tokens` tokens of a task; null where there are none. */
  take(handle: Handle, tokens: number): TokenLogprob[] | null {
    const list = this.#lists.get(handle)
    if (!list || tokens === 0) return null
    const json = list.json.slice(list.next, list.next + tokens)
    list.next += tokens
    // Written by our own worker, in this form.
    const logprobs = json.map((text) => JSON.parse(text) as TokenLogprob | null)
    return logprobs.every((logprob) => logprob !== null) ? logprobs : null
  }
}
