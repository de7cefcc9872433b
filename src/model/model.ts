/**
 * The seam between the batch loop and a model: rows are slots of one continuous batch.
 *
 * The loop owns order, cancel, `max_tokens`, stop strings and messages; a model owns tokenizer, template,
 * caches and sampling, and knows nothing of tasks, threads or readers. All calls come from one thread, one
 * at a time: no `step` is under way while `admit` or `release` runs.
 */
import type { TokenLogprob } from '../core/event.js'
import type { Prompt, Sampling, SamplingDefaults } from '../core/task.js'

export type Generation = {
  prompt: Prompt
  /** The prompt's ids, where they are known: a long prompt is encoded before it comes here. */
  promptIds: Int32Array | null
  sampling: Sampling
  /** The caller's bound on new tokens, or null. */
  maxTokens: number | null
  /** Ids that this answer already has, from an attempt that was lost: prefilled after the prompt, never repeated. */
  recorded: number[]
  /** How many alternatives come with each token's logprob; null: no logprobs. */
  topLogprobs: number | null
}

export type Admission = {
  /** 0 … slots - 1, ours until `release`. */
  slot: number
  promptTokens: number
  /** How many tokens the answer can have at most, recorded ones included. */
  maxTokens: number
}

/** What one slot said in one step. */
export type SlotOutput = {
  slot: number
  /** The token's id, or -1 when the model ended without one (end of text, context full). */
  id: number
  /** The whole characters that this token completed: '' while a character is still in pieces. */
  text: string
  /** `stop`: the model's own end. `length`: no room for more. `failed`: this row cannot go on; others can. */
  end: 'stop' | 'length' | 'failed' | null
  /** Of an end that is `failed`. */
  error?: { code: string; message: string }
  /** Of the token, when its generation asked for them. */
  logprobs?: TokenLogprob
  /** With the first output of a slot: how many tokens of the prompt came from a cached prefix. 0 when absent. */
  cachedTokens?: number
}

export interface Model {
  /** What an operator should know of how this model runs, in one line. */
  readonly note?: string | undefined
  /** Rows that can be active at once. */
  readonly slots: number
  /**
   * Takes a slot and prefills it. Needs a free slot.
   * @throws RejoinError `prompt_too_long` or `invalid_prompt`; the slot stays free.
   */
  admit(generation: Generation): Promise<Admission>
  /**
   * One decode for every active slot that is due; a slot that has ended says nothing more. A row that cannot be run is
   * an output, `failed`.
   * @throws Error only by a defect that is no row's in particular; every slot is released then
   */
  step(): Promise<SlotOutput[]>
  /** Milliseconds until a step has anything to do: 0 = now, Infinity = no active slot. */
  idleMs(): number
  /** Frees a slot, ended or not. */
  release(slot: number): void
  close(): Promise<void>
}

/** A Hugging Face export, and the share of memory and threads that its worker has. */
export type OnnxSource = {
  type: 'onnx'
  name: string
  sampling: SamplingDefaults
  dir: string
  /** The graph, relative to `dir`. */
  file: string
  slots: number
  /** Prompt and answer of one slot, in tokens. */
  contextTokens: number
  /** Keys and values of all slots, allocated at start. */
  cacheBytes: number
  prefixCacheBytes: number
  /** Tokens of prompts between two tokens of a running stream: of short prompts together, and of a long one. */
  prefillChunk: number
  /** Threads of one call of ONNX Runtime. */
  threads: number
}

/** What makes text. */
export type TextSource = { type: 'scripted'; name: string; slots: number } | OnnxSource

/** How the vectors of a text's tokens become one. `graph`: only the graph itself can do it, for the reason told. */
export type Pooling = { type: 'mean' } | { type: 'cls' } | { type: 'graph'; because: string }

/** A Hugging Face export that makes embeddings. */
export type EncoderSource = {
  type: 'encoder'
  name: string
  dir: string
  /** The graph, relative to `dir`. */
  file: string
  /** Of one text, special tokens included: as many positions as the model knows. */
  contextTokens: number
  pooling: Pooling
  /** Fills up the shorter rows of a batch. */
  padId: number
  /** Threads of one call of ONNX Runtime. */
  threads: number
}

/** What to load in a worker thread; crosses the thread boundary as data. */
export type ModelSource = TextSource | EncoderSource

/** The default for `max_tokens` where neither the caller nor the model says another. */
export const DEFAULT_MAX_TOKENS = 256
