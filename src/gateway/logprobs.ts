/**
 * The logprobs of one flush, handed out along with the tokens that they belong to.
 *
 * A worker sends them beside its cells, as one list per task in the order of that task's tokens, so that the tasks that
 * did not ask for them pay nothing.
 */
import type { TokenLogprob } from '../core/event.js'
import type { Handle, WorkerFlush } from '../engine/messages.js'

export class FlushLogprobs {
  readonly #lists = new Map<Handle, { json: string[]; next: number }>()

  constructor(lists: WorkerFlush['logprobs']) {
    for (const [handle, json] of lists) this.#lists.set(handle, { json, next: 0 })
  }

  /** Those of the next `tokens` tokens of a task; null for a task that has none. */
  take(handle: Handle, tokens: number): TokenLogprob[] | null {
    const list = this.#lists.get(handle)
    if (!list) return null
    const json = list.json.slice(list.next, list.next + tokens)
    list.next += tokens
    // Written by our own worker, in this form.
    return json.map((text) => JSON.parse(text) as TokenLogprob)
  }
}
