/**
 * Which thread a conversation was in last: its prefix cache knows the beginning of the next turn.
 *
 * A conversation is known by what all its turns have in common, everything up to the first word of the user. That is
 * a guess that costs nothing when it is wrong: another thread computes what this one would have had.
 */
import { createHash } from 'node:crypto'
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

/** A hash: a slice of a prompt as a key would keep the whole prompt in memory. */
const beginning = (prompt: Prompt): string => {
  const hash = createHash('sha256')
  if (prompt.type !== 'chat') return hash.update(prompt.text.slice(0, MAX_CHARACTERS)).digest('base64')
  for (const { role, content } of prompt.messages) {
    // From the end as well: system prompts are long and the same for everybody.
    hash.update(`${content.slice(0, MAX_CHARACTERS)}\0${content.slice(-MAX_CHARACTERS)}\0`)
    if (role === 'user') break
  }
  return hash.digest('base64')
}
