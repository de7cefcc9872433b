/**
 * What `/v1/responses` takes: OpenAI's request, checked, as a task that may go on from an earlier response.
 */
import Type from 'typebox'
import { RejoinError } from '../../core/errors.js'
import type { Message, Origin, TaskSpec } from '../../core/task.js'
import { checker } from '../checker.js'
import { type Absent, ALLOWED, COMMON_FIELDS, commonSpec, MAX_ITEMS, MaxTokens, TopLogprobs } from '../fields.js'
import { ALL_TOKENS, asked } from './completion-request.js'
import { type MessageForm, messagesOf } from './content.js'
import type { Harmless } from './harmless.js'

export type ResponseOrigin = Extract<Origin, { type: 'response' }>

export type ResponseRequest = {
  /** Without the messages of the response that it goes on from. */
  spec: TaskSpec & { origin: ResponseOrigin }
  input: Message[]
  stream: boolean
}

const LOGPROBS = 'message.output_text.logprobs'
const Label = Type.Optional(Type.String({ maxLength: 512 }))

const HARMLESS: Harmless = {
  tools: [[]],
  tool_choice: ['none', 'auto'],
  parallel_tool_calls: 'label',
  max_tool_calls: [],
  conversation: [],
  prompt: [],
  prompt_cache_retention: 'label',
  reasoning: [{}, { effort: 'none' }, { effort: null }, { effort: null, summary: null }],
  service_tier: ['auto', 'default'],
  stream_options: 'label',
  text: [{}, { format: { type: 'text' } }, { verbosity: 'medium' }, { format: { type: 'text' }, verbosity: 'medium' }],
  truncation: ['disabled'],
}

/** An earlier output comes back as it was answered. */
const MESSAGE: MessageForm = {
  harmless: { type: ['message'], id: 'label', status: 'label', phase: 'label' },
  textTypes: ['input_text', 'output_text'],
}

const check = checker(
  Type.Object(
    {
      ...COMMON_FIELDS,
      input: Type.Unknown(),
      instructions: Type.Optional(Type.String()),
      max_output_tokens: Type.Optional(MaxTokens),
      include: Type.Optional(Type.Array(Type.Enum([LOGPROBS, 'reasoning.encrypted_content']), { maxItems: 8 })),
      top_logprobs: Type.Optional(TopLogprobs),
      stream: Type.Optional(Type.Boolean()),
      background: Type.Optional(Type.Boolean()),
      store: Type.Optional(Type.Boolean()),
      previous_response_id: Type.Optional(Type.String({ maxLength: 200 })),
      user: Label,
      safety_identifier: Label,
      prompt_cache_key: Label,
    },
    { additionalProperties: false },
  ),
  { noun: 'a response', maxItems: MAX_ITEMS, allowed: ALLOWED },
)

/** @throws RejoinError `invalid_request`, `unknown_field`, `unsupported_field` */
export function parseResponseRequest(given: unknown, absent: Absent): ResponseRequest {
  const value = check(asked(given, HARMLESS))
  const { instructions = null, background = false, store = true, stream = false } = value
  if (background && !store) {
    throw new RejoinError('invalid_request', '`background: true` needs `store: true`', { param: 'store' })
  }
  const input = messages(value.input)
  const origin: ResponseOrigin = {
    type: 'response',
    instructions,
    previous: value.previous_response_id ?? null,
    store,
    background,
    maxOutputTokens: value.max_output_tokens ?? null,
    labels: labelsOf(value),
  }
  return {
    spec: {
      ...commonSpec(value, background ? { ...absent, onDisconnect: { type: 'continue' } } : absent),
      prompt: { type: 'chat', messages: withInstructions(instructions, input) },
      maxTokens: value.max_output_tokens ?? ALL_TOKENS,
      stop: [],
      topLogprobs: topLogprobsOf(value),
      origin,
    },
    input,
    stream,
  }
}

/** The request as a turn after those of another response. @param output what that one answered
 * @throws RejoinError `invalid_request` when the conversation has too many messages */
export function goOn({ spec, input }: ResponseRequest, previous: TaskSpec, output: string): TaskSpec {
  const { origin, prompt } = previous
  const all = prompt.type === 'chat' ? prompt.messages : []
  const earlier = origin?.type === 'response' && origin.instructions !== null ? all.slice(1) : all
  const conversation = [...earlier, { role: 'assistant', content: output }, ...input]
  if (conversation.length > MAX_ITEMS.messages) {
    const message = `the conversation has ${conversation.length} messages, over ${MAX_ITEMS.messages}`
    throw new RejoinError('invalid_request', message, { param: 'previous_response_id' })
  }
  return { ...spec, prompt: { type: 'chat', messages: withInstructions(spec.origin.instructions, conversation) } }
}

const withInstructions = (instructions: string | null, messages: Message[]): Message[] =>
  instructions === null ? messages : [{ role: 'system', content: instructions }, ...messages]

function messages(input: unknown): Message[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  refuseOtherItems(input)
  return messagesOf(input, 'input', MESSAGE)
}

/** Items beside messages have no role, which would be the first thing missed. */
function refuseOtherItems(input: unknown): void {
  if (!Array.isArray(input)) return
  for (const [index, item] of input.entries()) {
    const type: unknown = item?.type
    if (typeof type !== 'string' || type === 'message') continue
    const message = `\`input.${index}\` is of type ${JSON.stringify(type.slice(0, 100))}, which is not supported; only messages are`
    throw new RejoinError('unsupported_field', message, { param: `input.${index}` })
  }
}

type Asking = { include?: string[]; top_logprobs?: number }

function topLogprobsOf({ include = [], top_logprobs }: Asking): number | null {
  return include.includes(LOGPROBS) || top_logprobs !== undefined ? (top_logprobs ?? 0) : null
}

function labelsOf({ user, safety_identifier, prompt_cache_key }: ResponseOrigin['labels']): ResponseOrigin['labels'] {
  return {
    ...(user === undefined ? {} : { user }),
    ...(safety_identifier === undefined ? {} : { safety_identifier }),
    ...(prompt_cache_key === undefined ? {} : { prompt_cache_key }),
  }
}
