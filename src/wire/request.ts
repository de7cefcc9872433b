/**
 * The task request of PROTOCOL section 4: from bytes nobody has checked to a `TaskSpec`.
 *
 * One definition is the type, the check and the schema.
 */
import { isUtf8 } from 'node:buffer'
import Type from 'typebox'
import { RejoinError } from '../core/errors.js'
import type { Prompt, TaskSpec } from '../core/task.js'
import { checker } from './checker.js'
import {
  ALLOWED,
  COMMON_FIELDS,
  commonSpec,
  MAX_ITEMS,
  MAX_TOP_LOGPROBS,
  MaxTokens,
  StopText,
  TopLogprobs,
} from './fields.js'

const MessageSchema = Type.Object(
  {
    role: Type.Enum(['system', 'developer', 'user', 'assistant']),
    content: Type.String(),
  },
  { additionalProperties: false },
)

export const TaskRequestSchema = Type.Object(
  {
    ...COMMON_FIELDS,
    prompt: Type.Optional(Type.String()),
    messages: Type.Optional(Type.Array(MessageSchema, { minItems: 1, maxItems: MAX_ITEMS.messages })),
    max_tokens: Type.Optional(MaxTokens),
    stop: Type.Optional(Type.Array(StopText, { maxItems: MAX_ITEMS.stop })),
    logprobs: Type.Optional(Type.Union([Type.Boolean(), TopLogprobs])),
    n: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  { additionalProperties: false },
)

export type TaskRequest = Type.Static<typeof TaskRequestSchema>

const check = checker(TaskRequestSchema, {
  noun: 'a task request',
  maxItems: MAX_ITEMS,
  allowed: { ...ALLOWED, logprobs: `true, false or a whole number from 0 to ${MAX_TOP_LOGPROBS}` },
})

/** @throws RejoinError `invalid_json` */
export function parseJson(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new RejoinError('invalid_json', 'the text is not valid UTF-8')
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch (error) {
    throw new RejoinError('invalid_json', `the text is not JSON: ${(error as Error).message}`)
  }
}

/** `newSeed` gives the seed when the caller has none: an answer must be able to go on after a crash.
 * @throws RejoinError `invalid_request`, `unknown_field` or `unsupported_field` */
export function parseTaskRequest(given: unknown, newSeed: () => number): TaskSpec {
  const value = check(given)
  refuseUnsupported(value)
  return {
    ...commonSpec(value, { newSeed, onDisconnect: { type: 'continue' } }),
    prompt: promptOf(value),
    maxTokens: value.max_tokens ?? null,
    stop: value.stop ?? [],
    topLogprobs: topLogprobsOf(value),
  }
}

function topLogprobsOf({ logprobs = false }: TaskRequest): number | null {
  if (typeof logprobs === 'number') return logprobs
  return logprobs ? 0 : null
}

function promptOf({ prompt, messages }: TaskRequest): Prompt {
  if ((prompt === undefined) === (messages === undefined)) {
    throw new RejoinError('invalid_request', 'exactly one of `prompt` and `messages` is needed', { param: 'prompt' })
  }
  return prompt === undefined ? { type: 'chat', messages: messages ?? [] } : { type: 'text', text: prompt }
}

// Better refused by name than accepted and not honoured.
function refuseUnsupported({ n = 1 }: TaskRequest): void {
  if (n === 1) return
  const message = `\`n\` must be 1, got ${n}: one task is one answer; make ${n} tasks`
  throw new RejoinError('unsupported_field', message, { param: 'n' })
}
