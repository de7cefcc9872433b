/**
 * The fields that every request for text has, whichever protocol it comes by: their bounds, and what they mean to a task.
 */
import Type from 'typebox'
import { RejoinError } from '../core/errors.js'
import type { OnDisconnect, Sampling, TaskSpec } from '../core/task.js'
import { shown } from './shown.js'

const DAY_MS = 86_400_000
/** Of a metadata key. */
const MAX_KEY_CHARACTERS = 64

/** Items of what has many. */
export const MAX_ITEMS = { messages: 1000, stop: 8, metadata: 16, logit_bias: 300 } as const
export const MAX_TOP_LOGPROBS = 20

/** Of the unions below, in words. */
export const ALLOWED = { on_disconnect: '"continue", "cancel", "pause" or {"cancel_after_ms": MS}' }

const OnDisconnectSchema = Type.Union([
  Type.Enum(['continue', 'cancel', 'pause']),
  Type.Object({ cancel_after_ms: Type.Integer({ minimum: 1, maximum: 7 * DAY_MS }) }, { additionalProperties: false }),
])

export const MaxTokens = Type.Integer({ minimum: 1, maximum: 1_000_000 })
export const StopText = Type.String({ minLength: 1, maxLength: 256 })
export const TopLogprobs = Type.Integer({ minimum: 0, maximum: MAX_TOP_LOGPROBS })

export const COMMON_FIELDS = {
  model: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 5 })),
  top_p: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
  top_k: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
  min_p: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  repetition_penalty: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 10 })),
  presence_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2 })),
  frequency_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2 })),
  logit_bias: Type.Optional(
    Type.Record(Type.String(), Type.Number({ minimum: -100, maximum: 100 }), { maxProperties: MAX_ITEMS.logit_bias }),
  ),
  seed: Type.Optional(Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER })),
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 9 })),
  deadline_ms: Type.Optional(Type.Integer({ minimum: 1, maximum: 7 * DAY_MS })),
  max_wait_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 7 * DAY_MS })),
  on_disconnect: Type.Optional(OnDisconnectSchema),
  webhook: Type.Optional(
    Type.Object({ url: Type.String({ minLength: 1, maxLength: 2048 }) }, { additionalProperties: false }),
  ),
  metadata: Type.Optional(
    Type.Record(Type.String(), Type.String({ maxLength: 512 }), { maxProperties: MAX_ITEMS.metadata }),
  ),
}

const CommonSchema = Type.Object(COMMON_FIELDS)
export type CommonRequest = Type.Static<typeof CommonSchema>

/** What a task takes from the common fields. */
export type CommonSpec = Omit<TaskSpec, 'prompt' | 'maxTokens' | 'stop' | 'topLogprobs'>

/** For what its maker did not say. */
export type Absent = {
  /** An answer must be able to go on after a crash, so it has a seed. */
  newSeed: () => number
  /** What becomes of a task that nobody reads. */
  onDisconnect: OnDisconnect
}

/** @throws RejoinError `invalid_request` */
export function commonSpec(value: CommonRequest, absent: Absent): CommonSpec {
  return {
    ...(value.model === undefined ? {} : { model: value.model }),
    sampling: samplingOf(value, absent.newSeed),
    onDisconnect: value.on_disconnect === undefined ? absent.onDisconnect : onDisconnectOf(value.on_disconnect),
    webhook: webhookOf(value),
    priority: value.priority ?? 5,
    deadlineMs: value.deadline_ms ?? null,
    maxWaitMs: value.max_wait_ms ?? null,
    metadata: metadataOf(value),
  }
}

// A schema can only say this of a key in a way that names it badly.
function metadataOf({ metadata = {} }: CommonRequest): Record<string, string> {
  const wrong = Object.keys(metadata).find((key) => key === '' || key.length > MAX_KEY_CHARACTERS)
  if (wrong === undefined) return metadata
  const message = `a key of \`metadata\` must have 1 to ${MAX_KEY_CHARACTERS} characters, got ${shown(wrong)}`
  throw new RejoinError('invalid_request', message, { param: 'metadata' })
}

function onDisconnectOf(given: Type.Static<typeof OnDisconnectSchema>): OnDisconnect {
  if (typeof given === 'object') return { type: 'cancel', afterMs: given.cancel_after_ms }
  return given === 'cancel' ? { type: 'cancel', afterMs: null } : { type: given }
}

function samplingOf(value: CommonRequest, newSeed: () => number): Sampling {
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

function webhookOf({ webhook }: CommonRequest): TaskSpec['webhook'] {
  if (webhook === undefined) return null
  const url = URL.canParse(webhook.url) ? new URL(webhook.url) : null
  if (url && (url.protocol === 'http:' || url.protocol === 'https:') && url.username === '' && url.password === '') {
    return { url: url.href }
  }
  const message = `\`webhook.url\` must be a whole http or https URL without a password, got ${shown(webhook.url)}`
  throw new RejoinError('invalid_request', message, { param: 'webhook.url' })
}
