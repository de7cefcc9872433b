/**
 * What a task says: the events of PROTOCOL section 3, in the form that every reader gets.
 *
 * The events of one task have `seq` 1, 2, 3 … with no gap, the log never rewrites, and exactly one event is
 * terminal and last. Field names are those of the wire, so that nothing is renamed between worker and socket.
 */
import type { TaskId } from './id.js'

/** The number of an event within its task, from 1; as a position, 0 means "nothing yet". */
export type Seq = number

export type FinishReason = 'stop' | 'length' | 'stop_sequence'

/** Counted in tokens. `cached_tokens` of the prompt were not computed again. */
export type Usage = { prompt_tokens: number; cached_tokens: number; completion_tokens: number }

/** Milliseconds since the task was accepted; `first_token_ms` is null for an answer without tokens. */
export type Timings = { queued_ms: number; first_token_ms: number | null; total_ms: number }

export type CanceledBy = 'client' | 'deadline' | 'shutdown' | 'admin'

/**
 * How likely a token was, by the model alone: before any bias, penalty, temperature or filter. The shape is that of
 * OpenAI's chat completions. `bytes` are the token's UTF-8 bytes, since a token can be a part of a character.
 */
export type TokenLogprob = TokenLikelihood & { top_logprobs: TokenLikelihood[] }

/** `logprob` is a natural logarithm. */
export type TokenLikelihood = { token: string; bytes: number[]; logprob: number }

export type EventBody =
  | { type: 'queued'; position: number }
  | { type: 'started'; attempt: number; model: string }
  /** `logprobs`, when the task asked for them: one for each of its tokens. */
  | { type: 'token'; text: string; tokens: number; from?: Seq; logprobs?: TokenLogprob[] }
  | { type: 'progress'; percent: number }
  | { type: 'retrying'; attempt: number; reason: string }
  | { type: 'completed'; finish_reason: FinishReason; usage: Usage; timings: Timings }
  | { type: 'failed'; error: { code: string; message: string } }
  | { type: 'canceled'; by: CanceledBy }

/** `at` is unix time in milliseconds. */
export type TaskEvent = { task: TaskId; seq: Seq; at: number } & EventBody

export type TokenEvent = Extract<TaskEvent, { type: 'token' }>
/** An event that is kept as an object; a token event is kept as a stretch of its task's text. */
export type MarkEvent = Exclude<TaskEvent, { type: 'token' }>

/** Exactly one a task, always last. */
export type TerminalEvent = Extract<TaskEvent, { type: 'completed' | 'failed' | 'canceled' }>

export const isTerminal = <E extends EventBody>(event: E): event is E & { type: TerminalEvent['type'] } =>
  event.type === 'completed' || event.type === 'failed' || event.type === 'canceled'
