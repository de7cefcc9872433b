/**
 * A prompt becomes the ids that a model is prefilled with, or a refusal that says why it cannot.
 *
 * A prompt that must be too long is refused before the tokenizer sees it, because its work would hold up the whole
 * thread.
 */
import { RejoinError } from '../core/errors.js'
import type { Message, Prompt } from '../core/task.js'
import type { ChatTemplate } from './chat-template.js'
import type { Tokenizer } from './tokenizer.js'

export type PromptEncoding = {
  tokenizer: Tokenizer
  template: ChatTemplate | null
  /** Prompt and answer together. */
  contextTokens: number
}

/**
 * @returns at least one id, and fewer than `contextTokens`: there is room for an answer
 * @throws RejoinError `invalid_prompt`, `prompt_too_long`
 */
export const encodePrompt = (prompt: Prompt, { tokenizer, template, contextTokens }: PromptEncoding): number[] => {
  if (prompt.type !== 'chat' && prompt.text === '') throw new RejoinError('invalid_prompt', 'the prompt is empty')
  // A template writes the special tokens itself.
  const rendered = template !== null && prompt.type !== 'raw'
  const parts = rendered ? template.render(turns(prompt)) : [rawText(prompt)]
  const atLeast = tokenizer.minTokens(parts.join(''))
  checkLength(atLeast, contextTokens, 'at least ')
  const ids = parts.flatMap((part) => tokenizer.encode(part, { addSpecial: !rendered }))
  if (ids.length === 0) throw new RejoinError('invalid_prompt', 'the prompt has no tokens')
  checkLength(ids.length, contextTokens)
  return ids
}

const turns = (prompt: Prompt): Message[] => {
  if (prompt.type !== 'chat') return [{ role: 'user', content: prompt.text }]
  if (prompt.messages.length === 0) throw new RejoinError('invalid_prompt', '`messages` is empty')
  return prompt.messages
}

const rawText = (prompt: Prompt): string => {
  if (prompt.type !== 'chat') return prompt.text
  throw new RejoinError('invalid_prompt', 'the model has no chat template: it takes `prompt`, not `messages`')
}

const checkLength = (tokens: number, contextTokens: number, atLeast = ''): void => {
  if (tokens < contextTokens) return
  const message = `the prompt has ${atLeast}${tokens} tokens, but prompt and answer together have room for ${contextTokens}`
  throw new RejoinError('prompt_too_long', message)
}
