/**
 * OpenAI's completions and embeddings: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`.
 *
 * A completion is a task like any other; only the form of its answer is OpenAI's. (Responses are in `responses.ts`.)
 */
import type { Gateway } from '../gateway/gateway.js'
import type { Absent } from '../wire/fields.js'
import { CHAT, CompletionChunks, completionJson, type Form, TEXT } from '../wire/openai/completion.js'
import { type CompletionRequest, parseChatRequest, parseCompletionRequest } from '../wire/openai/completion-request.js'
import { embeddingsJson, parseEmbeddingsRequest } from '../wire/openai/embeddings.js'
import { badEnd } from '../wire/openai/ending.js'
import { parseJson } from '../wire/request.js'
import { ask, endOf } from './asking.js'
import { EventStream, type Streams } from './events.js'
import { received } from './received.js'
import type { Exchange } from './request.js'

export class OpenAiApi {
  readonly #gateway: Gateway
  readonly #streams: Streams
  readonly #maxBodyBytes: number
  readonly #absent: Absent

  constructor(gateway: Gateway, streams: Streams, maxBodyBytes: number, absent: Absent) {
    this.#gateway = gateway
    this.#streams = streams
    this.#maxBodyBytes = maxBodyBytes
    this.#absent = absent
  }

  /** POST /v1/chat/completions */
  chatCompletion(exchange: Exchange): Promise<void> {
    return this.#complete(exchange, CHAT, parseChatRequest)
  }

  /** POST /v1/completions */
  completion(exchange: Exchange): Promise<void> {
    return this.#complete(exchange, TEXT, parseCompletionRequest)
  }

  /** POST /v1/embeddings */
  async embeddings(exchange: Exchange): Promise<void> {
    const body = await exchange.body(this.#maxBodyBytes)
    const { model, texts, base64 } = parseEmbeddingsRequest(parseJson(body))
    const gone = new AbortController()
    exchange.onAborted(() => gone.abort())
    try {
      const embedded = await this.#gateway.embed(model, texts, gone.signal)
      exchange.send(200, 'application/json', embeddingsJson(embedded, base64))
    } catch (error) {
      if (!gone.signal.aborted) throw error
    }
  }

  async #complete(
    exchange: Exchange,
    form: Form,
    parse: (value: unknown, absent: Absent) => CompletionRequest,
  ): Promise<void> {
    const body = await exchange.body(this.#maxBodyBytes)
    const { spec, stream, includeUsage } = parse(parseJson(body), this.#absent)
    const { record, headers } = await ask(exchange, this.#gateway, spec, received(exchange, body, form.chunk))
    if (!exchange.open) return
    const { task, log } = record
    if (stream) {
      const chunks = new CompletionChunks(form, task, includeUsage)
      new EventStream(exchange, this.#gateway, this.#streams, record, 0, chunks, headers)
      return
    }
    const end = await endOf(exchange, this.#gateway, this.#streams.answers, record)
    if (end.type !== 'completed') throw badEnd(end)
    exchange.send(200, 'application/json', completionJson(form, task, end, log.text(), log.logprobs()), headers)
  }
}
