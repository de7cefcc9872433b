/**
 * The worker threads of one encoder model: a piece of work goes to whichever is free.
 *
 * Pieces are Piscina's ordinary tasks. None is ever aborted, and `close` waits for those that run: to end a thread
 * inside ONNX Runtime aborts the process. A thread that dies is replaced, and the next one loads the model again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import type { Embedding } from '../model/encoder.js'
import type { EncoderSource } from '../model/model.js'
import type { Encoders } from './embedder.js'
import type { EncoderReply } from './messages.js'
import { newPool } from './threads.js'

/** For a call, or a model that is loading, to come to its end. */
const CLOSE_MS = 30_000

export class EncoderThreads implements Encoders {
  readonly count: number
  readonly #name: string
  readonly #pool: Piscina<string[], EncoderReply>
  readonly #calls = new Set<Promise<EncoderReply>>()
  #ready = false

  constructor(source: EncoderSource, count: number) {
    this.count = count
    this.#name = source.name
    this.#pool = newPool('./encoder-worker.js', {
      minThreads: count,
      maxThreads: count,
      workerData: source,
      // To wait on them would stop the thread's event loop.
      atomics: 'disabled',
    })
  }

  get ready(): boolean {
    return this.#ready
  }

  /** The threads themselves, for those who watch or end them. */
  get workers(): Worker[] {
    return this.#pool.threads
  }

  async open(): Promise<void> {
    // No text to embed: the model is loaded, and that is all. The others go on loading when the first has it.
    const loads = Array.from({ length: this.count }, async () => {
      const reply = await this.#call([])
      if (reply.type === 'unloadable') throw new Error(reply.reason)
    })
    try {
      await Promise.any(loads)
    } catch (error) {
      const [first] = (error as AggregateError).errors as Error[]
      throw new Error(`model ${this.#name}: ${first?.message}`)
    }
  }

  async run(texts: string[]): Promise<Embedding[]> {
    const reply = await this.#call(texts)
    if (reply.type === 'embeddings') return reply.embeddings
    const message = `no worker can load the model: ${reply.reason}`
    return texts.map(() => ({ type: 'failed', code: 'model_failed', message }))
  }

  async close(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#calls), sleep(CLOSE_MS, undefined, { ref: false })])
    await this.#pool.destroy()
  }

  async #call(texts: string[]): Promise<EncoderReply> {
    const call = this.#pool.run(texts)
    this.#calls.add(call)
    try {
      const reply = await call
      this.#ready = reply.type === 'embeddings'
      return reply
    } finally {
      this.#calls.delete(call)
    }
  }
}
