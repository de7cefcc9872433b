/**
 * What `/v1/chat/completions` and `/v1/completions` take: OpenAI's request, checked, as a task.
 *
 * Fields of the native request that OpenAI does not have (`top_k`, `priority`, `on_disconnect` …) may be sent along.
 */
import Type from 'typebox'
import { RejoinError } from '../../core/errors.js'
import type { TaskSpec } from '../../core/task.js'
import { checker } from '../checker.js'
import {
  type Absent,
  ALLOWED,
  COMMON_FIELDS,
  commonSpec,
  MAX_ITEMS,
  MAX_TOP_LOGPROBS,
  MaxTokens,
  StopText,
  TopLogprobs,
} from '../fields.js'
import { isObject } from '../object.js'
import { invalid, type MessageForm, messagesOf } from './content.js'
import { type Harmless, withoutHarmless } from './harmless.js'

export type CompletionRequest = {
  spec: TaskSpec
  stream: boolean
  /** The stream ends with a chunk that has the usage. */
  includeUsage: boolean
}

/** As much as the context has room for, as OpenAI does. */
export const ALL_TOKENS = 1_000_000
/** Where a text completion does not say, as OpenAI does. */
const COMPLETION_TOKENS = 16

/** What every request for text may say beside what it wants. */
const LABELS: Harmless = {
  user: 'label',
  safety_identifier: 'label',
  prompt_cache_key: 'label',
  prompt_cache_retention: 'label',
}

const STREAM_FIELDS = {
  stop: Type.Optional(Type.Union([StopText, Type.Array(StopText, { maxItems: MAX_ITEMS.stop })])),
  max_tokens: Type.Optional(MaxTokens),
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(
    Type.Object(
      { include_usage: Type.Optional(Type.Boolean()), include_obfuscation: Type.Optional(Type.Boolean()) },
      { additionalProperties: false },
    ),
  ),
}

const RULES = {
  maxItems: MAX_ITEMS,
  allowed: { ...ALLOWED, stop: `a text or an array of up to ${MAX_ITEMS.stop} texts` },
}

const CHAT_HARMLESS: Harmless = {
  ...LABELS,
  store: 'label',
  n: [1],
  tools: [[]],
  tool_choice: ['none', 'auto'],
  parallel_tool_calls: 'label',
  functions: [[]],
  function_call: ['none', 'auto'],
  response_format: [{ type: 'text' }],
  modalities: [['text']],
  audio: [],
  prediction: [],
  reasoning_effort: ['none'],
  verbosity: ['medium'],
  service_tier: ['auto', 'default'],
  web_search_options: [],
}

/** An assistant's message comes back as it was answered. */
const CHAT_MESSAGE: MessageForm = {
  harmless: { refusal: [], annotations: [[]], audio: [], function_call: [], tool_calls: [[]], name: [] },
  textTypes: ['text'],
}

const checkChat = checker(
  Type.Object(
    {
      ...COMMON_FIELDS,
      ...STREAM_FIELDS,
      messages: Type.Unknown(),
      max_completion_tokens: Type.Optional(MaxTokens),
      logprobs: Type.Optional(Type.Boolean()),
      top_logprobs: Type.Optional(TopLogprobs),
    },
    { additionalProperties: false },
  ),
  { noun: 'a chat completion', ...RULES, maxItems: { ...MAX_ITEMS, messages: Number.POSITIVE_INFINITY } },
)

/** @throws RejoinError `invalid_request`, `unknown_field`, `unsupported_field` */
export function parseChatRequest(given: unknown, absent: Absent): CompletionRequest {
  const value = checkChat(asked(given, CHAT_HARMLESS))
  if (value.top_logprobs !== undefined && value.logprobs !== true) {
    throw new RejoinError('invalid_request', '`top_logprobs` needs `logprobs: true`', { param: 'top_logprobs' })
  }
  const messages = messagesOf(value.messages, 'messages', CHAT_MESSAGE)
  return {
    ...streaming(value),
    spec: {
      ...commonSpec(value, absent),
      prompt: { type: 'chat', messages },
      maxTokens: value.max_completion_tokens ?? value.max_tokens ?? ALL_TOKENS,
      stop: [value.stop ?? []].flat(),
      topLogprobs: value.logprobs ? (value.top_logprobs ?? 0) : null,
    },
  }
}

const COMPLETION_HARMLESS: Harmless = { ...LABELS, n: [1], best_of: [1], echo: [false], suffix: [''] }

const checkCompletion = checker(
  Type.Object(
    {
      ...COMMON_FIELDS,
      ...STREAM_FIELDS,
      prompt: Type.Unknown(),
      logprobs: Type.Optional(TopLogprobs),
    },
    { additionalProperties: false },
  ),
  {
    noun: 'a completion',
    ...RULES,
    allowed: { ...RULES.allowed, logprobs: `a whole number from 0 to ${MAX_TOP_LOGPROBS}` },
  },
)

/** @throws RejoinError `invalid_request`, `unknown_field`, `unsupported_field` */
export function parseCompletionRequest(given: unknown, absent: Absent): CompletionRequest {
  const value = checkCompletion(asked(given, COMPLETION_HARMLESS))
  return {
    ...streaming(value),
    spec: {
      ...commonSpec(value, absent),
      prompt: { type: 'raw', text: onePrompt(value.prompt) },
      maxTokens: value.max_tokens ?? COMPLETION_TOKENS,
      stop: [value.stop ?? []].flat(),
      topLogprobs: value.logprobs ?? null,
    },
  }
}

function onePrompt(given: unknown): string {
  const prompt: unknown = Array.isArray(given) && given.length === 1 ? given[0] : given
  if (typeof prompt === 'string') return prompt
  if (!Array.isArray(prompt)) throw invalid('prompt', 'a text', prompt)
  const what = typeof prompt[0] === 'number' ? 'a prompt of token ids' : `${prompt.length} prompts in one request`
  throw new RejoinError('unsupported_field', `${what}: not supported, send one text`, { param: 'prompt' })
}

/** @throws RejoinError `invalid_request` when it is no object, `unsupported_field` */
export function asked(given: unknown, harmless: Harmless): Record<string, unknown> {
  if (!isObject(given)) throw new RejoinError('invalid_request', 'the request must be a JSON object')
  return withoutHarmless(given, harmless)
}

type Streamed = { stream?: boolean; stream_options?: { include_usage?: boolean } }

function streaming({ stream = false, stream_options }: Streamed): Omit<CompletionRequest, 'spec'> {
  if (stream_options !== undefined && !stream) {
    throw new RejoinError('invalid_request', '`stream_options` needs `stream: true`', { param: 'stream_options' })
  }
  return { stream, includeUsage: stream_options?.include_usage ?? false }
}
