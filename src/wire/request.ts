/**
 * The task request of PROTOCOL section 4: from bytes nobody has checked to a `TaskSpec`.
 *
 * One definition is the type, the check and the schema. The first thing wrong is named with the field, the
 * bound and the value given; a field that the protocol does not have is refused, because ignoring a misspelt
 * `max_token` costs its sender money in silence.
 */
import { isUtf8 } from 'node:buffer'
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { RejoinError } from '../core/errors.js'
import type { OnDisconnect, Prompt, Sampling, TaskSpec } from '../core/task.js'
import { shown } from './shown.js'

const DAY_MS = 86_400_000
/** Items of what has many. */
const MAX = { messages: 1000, stop: 8, metadata: 16, logit_bias: 300 } as const
const MAX_TOP_LOGPROBS = 20
/** Of a metadata key. */
const MAX_KEY_CHARACTERS = 64

const MessageSchema = Type.Object(
  {
    role: Type.Enum(['system', 'developer', 'user', 'assistant']),
    content: Type.String(),
  },
  { additionalProperties: false },
)

/** What may stand where a union is, in words: of a union the schema's own check only says that no member fits. */
const ALLOWED: Record<string, string> = {
  logprobs: `true, false or a whole number from 0 to ${MAX_TOP_LOGPROBS}`,
  on_disconnect: '"continue", "cancel", "pause" or {"cancel_after_ms": MS}',
}

const OnDisconnectSchema = Type.Union([
  Type.Enum(['continue', 'cancel', 'pause']),
  Type.Object({ cancel_after_ms: Type.Integer({ minimum: 1, maximum: 7 * DAY_MS }) }, { additionalProperties: false }),
])

export const TaskRequestSchema = Type.Object(
  {
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    prompt: Type.Optional(Type.String()),
    messages: Type.Optional(Type.Array(MessageSchema, { minItems: 1, maxItems: MAX.messages })),
    max_tokens: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 5 })),
    top_p: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
    top_k: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    min_p: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    repetition_penalty: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 10 })),
    presence_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2 })),
    frequency_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2 })),
    logit_bias: Type.Optional(
      Type.Record(Type.String(), Type.Number({ minimum: -100, maximum: 100 }), { maxProperties: MAX.logit_bias }),
    ),
    seed: Type.Optional(Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER })),
    stop: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: MAX.stop })),
    logprobs: Type.Optional(Type.Union([Type.Boolean(), Type.Integer({ minimum: 0, maximum: MAX_TOP_LOGPROBS })])),
    n: Type.Optional(Type.Integer({ minimum: 1 })),
    priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 9 })),
    deadline_ms: Type.Optional(Type.Integer({ minimum: 1, maximum: 7 * DAY_MS })),
    max_wait_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 7 * DAY_MS })),
    on_disconnect: Type.Optional(OnDisconnectSchema),
    webhook: Type.Optional(
      Type.Object({ url: Type.String({ minLength: 1, maxLength: 2048 }) }, { additionalProperties: false }),
    ),
    metadata: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 512 }), { maxProperties: MAX.metadata }),
    ),
  },
  { additionalProperties: false },
)

export type TaskRequest = Type.Static<typeof TaskRequestSchema>

const check = Compile(TaskRequestSchema)

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
export function parseTaskRequest(value: unknown, newSeed: () => number): TaskSpec {
  checkSizes(value)
  if (!check.Check(value)) throw firstFault(value)
  refuseUnsupported(value)
  return {
    ...(value.model === undefined ? {} : { model: value.model }),
    prompt: promptOf(value),
    maxTokens: value.max_tokens ?? null,
    sampling: samplingOf(value, newSeed),
    stop: value.stop ?? [],
    topLogprobs: topLogprobsOf(value),
    onDisconnect: onDisconnectOf(value),
    webhook: webhookOf(value),
    priority: value.priority ?? 5,
    deadlineMs: value.deadline_ms ?? null,
    maxWaitMs: value.max_wait_ms ?? null,
    metadata: metadataOf(value),
  }
}

// A schema can only say this of a key in a way that names it badly.
function metadataOf({ metadata = {} }: TaskRequest): Record<string, string> {
  const wrong = Object.keys(metadata).find((key) => key === '' || key.length > MAX_KEY_CHARACTERS)
  if (wrong === undefined) return metadata
  const message = `a key of \`metadata\` must have 1 to ${MAX_KEY_CHARACTERS} characters, got ${shown(wrong)}`
  throw new RejoinError('invalid_request', message, { param: 'metadata' })
}

function topLogprobsOf({ logprobs = false }: TaskRequest): number | null {
  if (typeof logprobs === 'number') return logprobs
  return logprobs ? 0 : null
}

function onDisconnectOf({ on_disconnect = 'continue' }: TaskRequest): OnDisconnect {
  if (typeof on_disconnect === 'object') return { type: 'cancel', afterMs: on_disconnect.cancel_after_ms }
  return on_disconnect === 'cancel' ? { type: 'cancel', afterMs: null } : { type: on_disconnect }
}

function promptOf({ prompt, messages }: TaskRequest): Prompt {
  if ((prompt === undefined) === (messages === undefined)) {
    throw new RejoinError('invalid_request', 'exactly one of `prompt` and `messages` is needed', { param: 'prompt' })
  }
  return prompt === undefined ? { type: 'chat', messages: messages ?? [] } : { type: 'text', text: prompt }
}

function samplingOf(value: TaskRequest, newSeed: () => number): Sampling {
  return {
    ...(value.temperature === undefined ? {} : { temperature: value.temperature }),
    ...(value.top_p === undefined ? {} : { topP: value.top_p }),
    ...(value.top_k === undefined ? {} : { topK: value.top_k }),
    ...(value.min_p === undefined ? {} : { minP: value.min_p }),
    ...(value.repetition_penalty === undefined ? {} : { repetitionPenalty: value.repetition_penalty }),
    ...(value.presence_penalty === undefined ? {} : { presencePenalty: value.presence_penalty }),
    ...(value.frequency_penalty === undefined ? {} : { frequencyPenalty: value.frequency_penalty }),
    ...(value.logit_bias === undefined ? {} : { logitBias: logitBiasOf(value.logit_bias) }),
    seed: value.seed ?? newSeed(),
  }
}

// The keys of an object are texts; of an id there is one spelling, so that none is given twice.
function logitBiasOf(given: Record<string, number>): [id: number, bias: number][] {
  return Object.entries(given).map(([id, bias]) => {
    if (/^(0|[1-9]\d{0,8})$/.test(id)) return [Number(id), bias]
    const message = `a key of \`logit_bias\` must be a token id, a whole number from 0, got ${shown(id)}`
    throw new RejoinError('invalid_request', message, { param: 'logit_bias' })
  })
}

// Better refused by name than accepted and not honoured.
function refuseUnsupported({ n = 1 }: TaskRequest): void {
  if (n === 1) return
  const message = `\`n\` must be 1, got ${n}: one task is one answer; make ${n} tasks`
  throw new RejoinError('unsupported_field', message, { param: 'n' })
}

function webhookOf({ webhook }: TaskRequest): TaskSpec['webhook'] {
  if (webhook === undefined) return null
  const url = URL.canParse(webhook.url) ? new URL(webhook.url) : null
  if (url && (url.protocol === 'http:' || url.protocol === 'https:') && url.username === '' && url.password === '') {
    return { url: url.href }
  }
  const message = `\`webhook.url\` must be a whole http or https URL without a password, got ${shown(webhook.url)}`
  throw new RejoinError('invalid_request', message, { param: 'webhook.url' })
}

/**
 * What can be long is looked at first, and by hand: the schema's own check lists what is wrong with every item, which
 * for a megabyte of them takes a quarter of a second.
 */
function checkSizes(value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  for (const [name, given] of Object.entries(value)) {
    if (!Object.hasOwn(TaskRequestSchema.properties, name)) throw unknownField(name)
    if (!Object.hasOwn(MAX, name) || typeof given !== 'object' || given === null) continue
    const max = MAX[name as keyof typeof MAX]
    const count = Object.keys(given).length
    if (count <= max) continue
    throw new RejoinError('invalid_request', `\`${name}\` must not have more than ${max} items, got ${count}`, {
      param: name,
    })
  }
}

const unknownField = (name: string): RejoinError =>
  new RejoinError('unknown_field', `\`${name.slice(0, 200)}\` is not a field of a task request`, {
    param: name.slice(0, 200),
  })

/** What is wrong, as an error that names the field. Only called with a value that the check refused. */
function firstFault(value: unknown): RejoinError {
  const errors = check.Errors(value)
  // An unknown field says more than the errors beside it; a union's own error comes after those of its members.
  for (const error of errors) {
    if (error.keyword !== 'additionalProperties') continue
    return unknownField(dotted(error.instancePath, error.params.additionalProperties[0]))
  }
  const fault = errors.find((error) => error.keyword === 'anyOf') ?? errors[0]
  if (fault === undefined) return new RejoinError('invalid_request', 'the request does not fit its schema')
  if (fault.keyword === 'required') {
    const name = dotted(fault.instancePath, fault.params.requiredProperties[0])
    return new RejoinError('invalid_request', `\`${name}\` is missing`, { param: name })
  }
  const name = dotted(fault.instancePath)
  const message =
    fault.keyword === 'anyOf'
      ? `must be ${ALLOWED[name] ?? 'one of its allowed values'}`
      : fault.keyword === 'enum'
        ? `must be one of ${fault.params.allowedValues.join(', ')}`
        : fault.message
  const what = name === '' ? 'the request' : `\`${name}\``
  return new RejoinError('invalid_request', `${what} ${message}, got ${shown(at(value, fault.instancePath))}`, {
    ...(name === '' ? {} : { param: name }),
  })
}

const dotted = (path: string, last?: string): string =>
  [...path.split('/').slice(1).map(unescaped), ...(last === undefined ? [] : [last])].join('.')

// JSON Pointer, RFC 6901 section 4.
const unescaped = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~')

function at(value: unknown, path: string): unknown {
  let found = value
  for (const part of path.split('/').slice(1)) found = (found as Record<string, unknown> | null)?.[unescaped(part)]
  return found
}
