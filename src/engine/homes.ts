/**
 * Which thread a conversation was in last: its prefix cache knows the beginning of the next turn.
 *
 * A conversation is known by what all its turns have in common, everything up to the first word of the user. That is
 * a guess that costs nothing when it is wrong: another thread computes what this one would have had.
 */
import type { Prompt } from '../core/task.js'

/** Of a beginning: longer ones that are the same up to here are the same. */
const MAX_CHARACTERS = 512
const MAX_CONVERSATIONS = 10_000

export class Homes<Thread> {
  /** In order of use, the oldest first. */
  readonly #threads = new Map<string, Thread>()

  get(prompt: Prompt): Thread | undefined {
    return this.#threads.get(beginning(prompt))
  }

  set(prompt: Prompt, thread: Thread): void {
    const key = beginning(prompt)
    this.#threads.delete(key)
    this.#threads.set(key, thread)
    const [oldest] = this.#threads.keys()
    if (this.#threads.size > MAX_CONVERSATIONS && oldest !== undefined) this.#threads.delete(oldest)
  }

  /** The thread is gone, and what it knew. */
  remove(thread: Thread): void {
    for (const [key, home] of this.#threads) if (home === thread) this.#threads.delete(key)
  }
}

const beginning = (prompt: Prompt): string => {
  if (prompt.type === 'text') return prompt.text.slice(0, MAX_CHARACTERS)
  const first = prompt.messages.findIndex(({ role }) => role === 'user')
  const shared = prompt.messages.slice(0, first < 0 ? prompt.messages.length : first + 1)
  // From the end as well: system prompts are long and the same for everybody.
  return shared.map(({ content }) => content.slice(0, MAX_CHARACTERS) + content.slice(-MAX_CHARACTERS)).join('\n')
}
