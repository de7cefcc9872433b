/**
 * A task as an object of OpenAI's Responses, with every field that the strict schema of Open Responses wants.
 */
import type { TokenLogprob, Usage } from '../../core/event.js'
import type { TaskState } from '../../core/state.js'
import type { SamplingDefaults, Task } from '../../core/task.js'
import { openaiId } from './ids.js'
import type { ResponseOrigin } from './response-request.js'

/** What an answer has said until now. */
export type Answer = { text: string; logprobs: readonly TokenLogprob[] | null }

type Status = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled'

/** One response: what of it never changes. */
export class ResponseView {
  readonly id: string
  readonly itemId: string
  readonly origin: ResponseOrigin
  readonly #task: Task
  readonly #defaults: SamplingDefaults

  constructor(task: Task, origin: ResponseOrigin, defaults: SamplingDefaults) {
    this.#task = task
    this.origin = origin
    this.#defaults = defaults
    this.id = openaiId('resp_', task.id)
    this.itemId = openaiId('msg_', task.id)
  }

  /** As the task is now. */
  current(state: TaskState, answer: Answer): Record<string, unknown> {
    const status = statusOf(state)
    const item = this.item(itemStatus(status), answer)
    return {
      ...this.beginning(status),
      completed_at: state.status === 'completed' ? seconds(state.finishedAt) : null,
      output: state.attempt > 0 ? [item] : [],
      error: errorOf(state),
      incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      usage: state.usage === null ? null : usageObject(state.usage),
    }
  }

  /** Before it has said anything. */
  beginning(status: Status): Record<string, unknown> {
    const { createdAt, model, spec } = this.#task
    const { origin } = this
    const { temperature, topP, presencePenalty, frequencyPenalty } = spec.sampling
    return {
      id: this.id,
      object: 'response',
      created_at: seconds(createdAt),
      completed_at: null,
      status,
      background: origin.background,
      error: null,
      incomplete_details: null,
      instructions: origin.instructions,
      max_output_tokens: origin.maxOutputTokens,
      max_tool_calls: null,
      model,
      output: [],
      parallel_tool_calls: true,
      previous_response_id: origin.previous,
      prompt_cache_key: null,
      reasoning: { effort: null, summary: null },
      safety_identifier: null,
      ...origin.labels,
      service_tier: 'default',
      store: origin.store,
      temperature: temperature ?? this.#defaults.temperature,
      text: { format: { type: 'text' }, verbosity: 'medium' },
      tool_choice: 'auto',
      tools: [],
      top_logprobs: spec.topLogprobs ?? 0,
      top_p: topP ?? this.#defaults.topP,
      presence_penalty: presencePenalty ?? 0,
      frequency_penalty: frequencyPenalty ?? 0,
      truncation: 'disabled',
      usage: null,
      metadata: spec.metadata,
    }
  }

  /** The one message of its output; without an answer it is empty. */
  item(status: ItemStatus, answer: Answer | null): Record<string, unknown> {
    const content = answer === null ? [] : [part(answer)]
    return { id: this.itemId, type: 'message', role: 'assistant', status, content }
  }
}

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete'

export const part = ({ text, logprobs }: Answer): Record<string, unknown> => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs: logprobs ?? [],
})

export function statusOf({ status, finishReason }: TaskState): Status {
  switch (status) {
    case 'queued':
      return 'queued'
    case 'running':
      return 'in_progress'
    case 'completed':
      return finishReason === 'length' ? 'incomplete' : 'completed'
    case 'failed':
      return 'failed'
    case 'canceled':
      return 'cancelled'
    default:
      return status satisfies never
  }
}

export function itemStatus(status: Status): ItemStatus {
  if (status === 'completed') return 'completed'
  return status === 'queued' || status === 'in_progress' ? 'in_progress' : 'incomplete'
}

/** Its codes are few: what went wrong is in the message, and in the task. */
function errorOf({ error }: TaskState): { code: string; message: string } | null {
  if (error === null) return null
  const invalid = error.code === 'invalid_prompt' || error.code === 'prompt_too_long'
  return { code: invalid ? 'invalid_prompt' : 'server_error', message: error.message }
}

const usageObject = ({ prompt_tokens, cached_tokens, completion_tokens }: Usage): Record<string, unknown> => ({
  input_tokens: prompt_tokens,
  input_tokens_details: { cached_tokens, cache_write_tokens: 0 },
  output_tokens: completion_tokens,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: prompt_tokens + completion_tokens,
})

const seconds = (ms: number | null): number | null => (ms === null ? null : Math.floor(ms / 1000))
