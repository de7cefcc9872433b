/**
 * What the main thread and a worker thread say to each other, over one MessagePort per worker.
 *
 * A task is a small integer here (`handle`), new for every attempt, so that words of a lost attempt are never
 * taken for the present one's. Tokens cross as one flat array per flush: on the receiving side an object per
 * token costs ten times as much.
 */
import type { FinishReason } from '../core/event.js'
import type { Embedding } from '../model/encoder.js'
import type { Generation, TextSource } from '../model/model.js'

export type Handle = number

/** What a worker thread is started with. */
export type WorkerStart = { source: TextSource; port: import('node:worker_threads').MessagePort; maxInFlight: number }

export type ToWorker =
  | { type: 'start'; handle: Handle; generation: Generation; stop: string[] }
  | { type: 'cancel'; handle: Handle }
  /** Frees the slot; the task may be started again with what it has said so far. */
  | { type: 'pause'; handle: Handle }
  /** So many events of its flushes are recorded: the worker may run on. */
  | { type: 'ack'; events: number }
  | { type: 'close' }

export type Admitted = { handle: Handle; promptTokens: number; maxTokens: number }

export type End = { handle: Handle } & (
  | { type: 'completed'; finishReason: FinishReason; cachedTokens: number }
  | { type: 'failed'; code: string; message: string }
  | { type: 'canceled' }
  /** Not an end of the task: its slot is free, and nothing more comes under this handle. */
  | { type: 'paused' }
)

/** `cells`: for each token event its handle, its text, the number n of its tokens, then n token ids. */
export type WorkerFlush = {
  type: 'flush'
  admitted: Admitted[]
  cells: (number | string)[]
  /**
   * For tasks that asked for logprobs: their handle and, for each of their tokens in `cells`, in that order, a
   * `TokenLogprob` as JSON, or `null` from a model that has none; in any number of lists per task.
   */
  logprobs: [handle: Handle, json: string[]][]
  /** Token events in `cells`, for the worker's bound on what is in flight. */
  events: number
  /** After the cells: nothing of these tasks follows. */
  ends: End[]
}

export type FromWorker =
  | { type: 'ready'; slots: number; note: string | null }
  /** It has tasks and nothing to say of them, and does not hang. */
  | { type: 'alive' }
  | WorkerFlush

/** What an encoder's thread answers to a piece of work; `unloadable`: it has no model to do it with. */
export type EncoderReply = { type: 'embeddings'; embeddings: Embedding[] } | { type: 'unloadable'; reason: string }
