/**
 * Long prompts become ids in a thread of their own, before their tasks are queued.
 *
 * Two things follow. A prompt that can never fit is refused at the door, with both numbers. And the batch loop of a
 * model, where tokenizing a megabyte would hold up every stream for a second, gets ids that it need not make. One
 * thread, started when it is first needed, serves all models: prompts of that kind are few, and they wait for each
 * other. How many may wait is for the caller to bound.
 */
import type { Piscina } from 'piscina'
import { type ErrorCode, RejoinError } from '../core/errors.js'
import type { Prompt } from '../core/task.js'
import { newPool } from './threads.js'

export type PromptModel = {
  /** With tokenizer and chat template. */
  dir: string
  /** Prompt and answer together. */
  contextTokens: number
}

/** What crosses to the thread and back: an error as its code and message. */
export type PromptJob = PromptModel & { prompt: Prompt }
export type EncodedPrompt = { type: 'ids'; ids: Int32Array } | { type: 'refused'; code: ErrorCode; message: string }

/** What the batch loop may tokenize between two steps: about 4 ms of work. */
const SHORT_BYTES = 4096
/** What a chat template adds to the text, on the generous side: around each message, and once. */
const TEMPLATE_TOKENS = { message: 16, once: 128 }

/**
 * False for a prompt that is encoded in no time and fits for certain, since a token stands for one byte at least. (A
 * template that writes pages of its own can prove this wrong; the model's own check then fails the task.)
 */
export function isLong(prompt: Prompt, contextTokens: number): boolean {
  const texts = prompt.type !== 'chat' ? [prompt.text] : prompt.messages.map(({ content }) => content)
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const atMost = bytes + texts.length * TEMPLATE_TOKENS.message + TEMPLATE_TOKENS.once
  return bytes > SHORT_BYTES || atMost >= contextTokens
}

export class PromptEncoder {
  #pool: Piscina<PromptJob, EncodedPrompt> | null = null
  #closing = false

  /** @throws RejoinError `prompt_too_long`, `invalid_prompt`; `draining` when it is closed meanwhile */
  async encode(model: PromptModel, prompt: Prompt): Promise<Int32Array> {
    const encoded = await this.#run({ ...model, prompt })
    if (encoded.type === 'ids') return encoded.ids
    throw new RejoinError(encoded.code, encoded.message, { param: prompt.type === 'chat' ? 'messages' : 'prompt' })
  }

  async close(): Promise<void> {
    this.#closing = true
    await this.#pool?.destroy()
  }

  async #run(job: PromptJob): Promise<EncodedPrompt> {
    this.#pool ??= newPool('./prompt-worker.js', { minThreads: 1, maxThreads: 1 })
    try {
      return await this.#pool.run(job)
    } catch (error) {
      if (!this.#closing) throw error
      throw new RejoinError('draining', 'the gateway is shutting down', { retryAfterS: 1 })
    }
  }
}
