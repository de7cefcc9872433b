/**
 * The entry of the thread that encodes long prompts: tokenizer and chat template of each model are loaded once.
 */
import { RejoinError } from '../core/errors.js'
import { ChatTemplate } from '../model/chat-template.js'
import { encodePrompt, type PromptEncoding } from '../model/prompt.js'
import { Tokenizer } from '../model/tokenizer.js'
import type { EncodedPrompt, PromptJob } from './prompt-encoder.js'

type Parts = Omit<PromptEncoding, 'contextTokens'>

const loaded = new Map<string, Parts>()

export default function encode({ dir, contextTokens, prompt }: PromptJob): EncodedPrompt {
  const parts = loaded.get(dir) ?? load(dir)
  try {
    return { type: 'ids', ids: Int32Array.from(encodePrompt(prompt, { ...parts, contextTokens })) }
  } catch (error) {
    if (!(error instanceof RejoinError)) throw error
    return { type: 'refused', code: error.code, message: error.message }
  }
}

/** @throws Error when a file is missing or not understood */
function load(dir: string): Parts {
  const tokenizer = Tokenizer.load(dir)
  const parts = { tokenizer, template: ChatTemplate.load(dir, tokenizer.specialTokens) }
  loaded.set(dir, parts)
  return parts
}
