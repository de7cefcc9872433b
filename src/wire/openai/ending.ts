/**
 * How an answer ends in OpenAI's terms, and what becomes of one that has no good end.
 */
import { ERRORS, type ErrorCode, RejoinError } from '../../core/errors.js'
import type { FinishReason, TerminalEvent, Usage } from '../../core/event.js'

/** A stop string is a stop like the model's own. */
export const finishReason = (reason: FinishReason): 'stop' | 'length' => (reason === 'length' ? 'length' : 'stop')

/** As an error of the request that asked for the answer. */
export function badEnd(event: Exclude<TerminalEvent, { type: 'completed' }>): RejoinError {
  if (event.type === 'canceled') return new RejoinError('task_canceled', `the task was canceled by ${event.by}`)
  const { code, message } = event.error
  return new RejoinError(isErrorCode(code) ? code : 'model_failed', message)
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code)

export const usageObject = ({ prompt_tokens, cached_tokens, completion_tokens }: Usage): Record<string, unknown> => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
  prompt_tokens_details: { cached_tokens },
})
