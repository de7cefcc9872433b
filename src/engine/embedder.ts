/**
 * Between the callers and the threads of one encoder model: whose texts are embedded next.
 *
 * Requests stand in line, in order of arrival. A free thread gets a piece of bounded size, made of one text of each
 * request in turn, over and over: texts of many small requests share calls, and a request of thousands of texts holds
 * up a small one by no more than the pieces that run. Within a request the longest text goes first: it is the one that
 * may be refused, and texts of like length come to share a call.
 *
 * A text is in exactly one place: `waiting` of its request, a piece that runs, or done. What a request that is over
 * (answered, failed, aborted) still has in a piece is thrown away when it comes.
 */
import { RejoinError } from '../core/errors.js'
import type { Logger } from '../core/logger.js'
import type { Embedding } from '../model/encoder.js'

/** What runs the pieces. */
export interface Encoders {
  /** How many pieces can run at once. */
  readonly count: number
  /** The model was loaded when it was last used. */
  readonly ready: boolean
  /** Resolves when one has the model. @throws Error when none can load it */
  open(): Promise<void>
  /** In the order of the texts. @throws Error when what ran them is lost: they may be run again */
  run(texts: string[]): Promise<Embedding[]>
  /** Waits for what runs. */
  close(): Promise<void>
}

export type EmbedderOptions = {
  /** The model's name. */
  model: string
  /** Requests that may wait. */
  maxQueue: number
  /** Bytes of texts that may wait. */
  maxQueueBytes: number
  /** How many threads a request may lose before it fails. */
  maxAttempts: number
}

/** In the order of the texts; `tokens` of each. */
export type Embeddings = { embeddings: Float32Array[]; tokens: number[] }

type Request = {
  texts: readonly string[]
  /** In UTF-8: a better measure of work than characters are, where an ideograph is a token. */
  bytes: number[]
  /** Which texts no thread has yet; the longest is the last. */
  waiting: number[]
  /** How many texts have no embedding yet. */
  left: number
  /** Threads that died with a text of this request. */
  losses: number
  embeddings: Float32Array[]
  tokens: number[]
  settle: (outcome: Outcome) => void
}

type Outcome = { type: 'done'; embeddings: Embeddings } | { type: 'failed'; error: unknown }

/** One text in a piece. */
type Place = { request: Request; index: number }

/** Of a piece, some 500 tokens of prose: a full batch, and not more, since others wait for it. */
const PIECE_BYTES = 2048

export class Embedder {
  readonly encoders: Encoders
  readonly #options: EmbedderOptions
  readonly #logger: Logger
  /** Those that are not over. */
  readonly #requests = new Set<Request>()
  /** Those that have texts waiting; whose turn it is comes first. */
  readonly #line: Request[] = []
  #waitingBytes = 0
  #running = 0
  #closed = false
  #idle: () => void = () => {}

  constructor(options: EmbedderOptions, encoders: Encoders, logger: Logger) {
    this.#options = options
    this.encoders = encoders
    this.#logger = logger
  }

  get model(): string {
    return this.#options.model
  }

  /** Resolves when the model is loaded; texts are accepted before that and wait. @throws Error when it cannot be */
  open(): Promise<void> {
    return this.encoders.open()
  }

  /**
   * @param signal ends the wait; texts that have not started never will
   * @throws RejoinError `queue_full`, `draining`, `worker_lost`, or the refusal of the first text that has one, with its
   * place among several; the signal's reason when it aborts
   */
  async embed(texts: readonly string[], signal: AbortSignal): Promise<Embeddings> {
    signal.throwIfAborted()
    if (texts.length === 0) return { embeddings: [], tokens: [] }
    const bytes = texts.map((text) => Buffer.byteLength(text))
    this.#checkRoom(bytes.reduce((sum, size) => sum + size, 0))
    return new Promise((resolve, reject) => {
      const request: Request = {
        texts,
        bytes,
        waiting: [...bytes.keys()].sort((a, b) => (bytes[a] as number) - (bytes[b] as number) || b - a),
        left: texts.length,
        losses: 0,
        embeddings: new Array(texts.length),
        tokens: new Array(texts.length),
        settle: (outcome) => {
          signal.removeEventListener('abort', onAbort)
          if (outcome.type === 'done') resolve(outcome.embeddings)
          else reject(outcome.error)
        },
      }
      const onAbort = (): void => this.#fail(request, signal.reason)
      signal.addEventListener('abort', onAbort)
      this.#requests.add(request)
      this.#line.push(request)
      for (const size of bytes) this.#waitingBytes += size
      this.#fill()
    })
  }

  /** Resolves when no request is under way, or when `ms` have passed: what is late then fails with `draining`. */
  async drain(ms: number): Promise<void> {
    if (this.#requests.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#idle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#refuseAll()
  }

  /** Waits for the pieces that run; what is not done fails with `draining`. */
  async close(): Promise<void> {
    this.#refuseAll()
    await this.encoders.close()
  }

  #checkRoom(bytes: number): void {
    if (this.#closed) throw draining()
    const { maxQueue, maxQueueBytes, model } = this.#options
    const full = (what: string): RejoinError =>
      new RejoinError('queue_full', `${what} may wait for embeddings of ${model}, the bound`, { retryAfterS: 1 })
    if (this.#line.length >= maxQueue) throw full(`${maxQueue} requests`)
    if (this.#waitingBytes + bytes > maxQueueBytes) throw full(`texts of ${maxQueueBytes} bytes`)
  }

  /** Gives every free thread a piece, as long as there are texts. */
  #fill(): void {
    while (!this.#closed && this.#running < this.encoders.count && this.#line.length > 0) {
      this.#running++
      void this.#run(this.#nextPiece())
    }
  }

  /** At least one text; of a request that lost a thread only one, so that it takes no other with it again. */
  #nextPiece(): Place[] {
    const piece: Place[] = []
    let bytes = 0
    for (let request = this.#line[0]; request; request = this.#line[0]) {
      const index = request.waiting.at(-1) as number
      const size = request.bytes[index] as number
      if (piece.length > 0 && (bytes + size > PIECE_BYTES || request.losses > 0)) break
      this.#line.shift()
      request.waiting.pop()
      if (request.waiting.length > 0) this.#line.push(request)
      this.#waitingBytes -= size
      bytes += size
      piece.push({ request, index })
      if (request.losses > 0) break
    }
    return piece
  }

  async #run(piece: Place[]): Promise<void> {
    try {
      const texts = piece.map(({ request, index }) => request.texts[index] as string)
      const embeddings = await this.encoders.run(texts)
      for (const [i, place] of piece.entries()) this.#take(place, embeddings[i] as Embedding)
    } catch (error) {
      this.#lost(piece, (error as Error).message)
    } finally {
      this.#running--
      this.#fill()
    }
  }

  #take({ request, index }: Place, embedding: Embedding): void {
    if (!this.#requests.has(request)) return
    if (embedding.type === 'failed') {
      const place = request.texts.length > 1 ? `text ${index}: ` : ''
      this.#fail(request, new RejoinError(embedding.code, place + embedding.message))
      return
    }
    request.embeddings[index] = embedding.vector
    request.tokens[index] = embedding.tokens
    request.left--
    if (request.left > 0) return
    const { embeddings, tokens } = request
    this.#settle(request, { type: 'done', embeddings: { embeddings, tokens } })
  }

  /** The texts of a lost piece are the next ones of their requests, and these come first. */
  #lost(piece: Place[], reason: string): void {
    if (this.#closed) return
    const { model, maxAttempts } = this.#options
    this.#logger.warn({ model, texts: piece.length, reason }, 'a worker was lost')
    for (const request of new Set(piece.map(({ request }) => request))) {
      request.losses++
      if (request.losses < maxAttempts) continue
      const message = `the worker died in attempt ${request.losses} of ${maxAttempts}: ${reason}`
      this.#fail(request, new RejoinError('worker_lost', message))
    }
    for (const { request, index } of piece.reverse()) {
      if (!this.#requests.has(request)) continue
      this.#leaveLine(request)
      this.#line.unshift(request)
      request.waiting.push(index)
      this.#waitingBytes += request.bytes[index] as number
    }
  }

  #fail(request: Request, error: unknown): void {
    this.#settle(request, { type: 'failed', error })
  }

  #settle(request: Request, outcome: Outcome): void {
    if (!this.#requests.delete(request)) return
    this.#leaveLine(request)
    for (const index of request.waiting.splice(0)) this.#waitingBytes -= request.bytes[index] as number
    request.settle(outcome)
    if (this.#requests.size === 0) this.#idle()
  }

  #leaveLine(request: Request): void {
    const at = this.#line.indexOf(request)
    if (at >= 0) this.#line.splice(at, 1)
  }

  #refuseAll(): void {
    this.#closed = true
    for (const request of this.#requests) this.#fail(request, draining())
  }
}

const draining = (): RejoinError => new RejoinError('draining', 'the gateway is shutting down', { retryAfterS: 1 })
