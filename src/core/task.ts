/**
 * A task: one inference request that was checked and accepted.
 *
 * `TaskSpec` is what `wire/` makes from a caller's bytes and nobody else may make; `Task` is a spec with an
 * identity. Both are plain data, because they cross threads and, with a journal, processes.
 */
import type { TaskId } from './id.js'

export type TaskStatus = 'queued' | 'running' | 'completed' | 'failed' | 'canceled'

export type Message = { role: string; content: string }

export type Prompt =
  /** One user turn where the model has a chat template, and raw text where it has none. */
  | { type: 'text'; text: string }
  /** Text to go on from, whatever template the model has. */
  | { type: 'raw'; text: string }
  | { type: 'chat'; messages: Message[] }

/** How the next token is chosen; what is absent has the default of the model's `generation_config.json`. */
export type Sampling = {
  /** 0 takes the likeliest token. */
  temperature?: number
  topP?: number
  /** 0 = no limit. */
  topK?: number
  minP?: number
  /** Over prompt and answer, as in Hugging Face `generate`. */
  repetitionPenalty?: number
  /** Over the answer alone, as in OpenAI's API. */
  presencePenalty?: number
  frequencyPenalty?: number
  /** Added to the logits of these token ids. */
  logitBias?: [id: number, bias: number][]
  /** The random number of token k is a function of (seed, k), so an answer can go on after a crash. */
  seed: number
}

/** How a model samples where a request does not say. */
export type SamplingDefaults = { temperature: number; topP: number }

/** What becomes of a task that nobody reads. */
export type OnDisconnect =
  | { type: 'continue' }
  /** Decoding stops while nobody reads, and goes on when somebody does. */
  | { type: 'pause' }
  /** Canceled when nobody has read it for so long; null: for a moment, once somebody has read it at all. */
  | { type: 'cancel'; afterMs: number | null }

/** What the protocol by which a task came finds again on it, beyond what every task has. */
export type Origin =
  /** OpenAI's Responses: what their objects repeat of the request. */
  | {
      type: 'response'
      /** The first message of the prompt, which the next turn does not inherit. */
      instructions: string | null
      /** The id of the response that this one goes on from. */
      previous: string | null
      /** False: it is not there for anybody but its own stream. */
      store: boolean
      background: boolean
      maxOutputTokens: number | null
      labels: { user?: string; safety_identifier?: string; prompt_cache_key?: string }
    }
  /** The AI SDK's chat that the answer belongs to, by its name there. */
  | { type: 'chat'; chat: string }

export type TaskSpec = {
  /** The name of a served model; absent: the first one that makes text. */
  model?: string
  prompt: Prompt
  /** Null when the caller did not say; the default is the model's. */
  maxTokens: number | null
  sampling: Sampling
  /** The answer ends before the first of these; no part of them is ever sent. */
  stop: string[]
  /** How many alternatives come with each token's logprob, 0 … 20; null: no logprobs. */
  topLogprobs: number | null
  onDisconnect: OnDisconnect
  /** Told of the task's end. */
  webhook: { url: string } | null
  /** 0 lowest … 9; equal priorities go in order of arrival. */
  priority: number
  /** From acceptance. */
  deadlineMs: number | null
  /** Refused at the door when the estimated wait is longer. */
  maxWaitMs: number | null
  metadata: Record<string, string>
  /** Absent where the protocol needs nothing. */
  origin?: Origin
}

/** A repeated request with the same key and the same body hash gets the same task. */
export type Idempotency = { key: string; bodyHash: string }

export type Task = {
  id: TaskId
  /** Counts up with every task that was ever accepted: the order of a listing. */
  ordinal: number
  /** The caller that it belongs to; another caller's task does not exist. */
  owner: string
  model: string
  spec: TaskSpec
  /** Unix ms. */
  createdAt: number
  /** Of the request as it came in, and of `promptIds`: what it costs to keep. */
  bytes: number
  /** Of a prompt that was encoded at the door, until the task has ended: every attempt is prefilled with them. */
  promptIds: Int32Array | null
  idempotency: Idempotency | null
}
