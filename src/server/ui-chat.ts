/**
 * What `useChat` of the AI SDK talks to, with its default transport: `/api/chat` and what is under it.
 *
 * Closing the connection (which is what `stop()` does) leaves the answer running, for whoever resumes it; ending it is
 * a request of its own.
 */
import type { Gateway } from '../gateway/gateway.js'
import type { TaskRecord } from '../gateway/record.js'
import { parseJson } from '../wire/request.js'
import { parseUiChatRequest, UI_MESSAGE_HEADERS, UiMessageChunks } from '../wire/ui-message.js'
import { ask, lookUp } from './asking.js'
import { authenticate } from './auth.js'
import { EventStream, type Streams } from './events.js'
import { newSeed, received } from './received.js'
import type { Exchange } from './request.js'

export class UiChatApi {
  readonly #gateway: Gateway
  readonly #streams: Streams
  readonly #maxBodyBytes: number

  constructor(gateway: Gateway, streams: Streams, maxBodyBytes: number) {
    this.#gateway = gateway
    this.#streams = streams
    this.#maxBodyBytes = maxBodyBytes
  }

  /** POST /api/chat */
  async send(exchange: Exchange): Promise<void> {
    const body = await exchange.body(this.#maxBodyBytes)
    const spec = parseUiChatRequest(parseJson(body), newSeed)
    const { record, headers } = await ask(exchange, this.#gateway, spec, received(exchange, body, 'chat'))
    if (exchange.open) this.#stream(exchange, record, headers)
  }

  /** GET /api/chat/{id}/stream: the answer that was missed, from its beginning; 204 when there is none. */
  async resume(exchange: Exchange, chat: string): Promise<void> {
    const record = await this.#find(chat)
    if (!exchange.open) return
    if (record === null) exchange.empty(204)
    else if (exchange.method === 'HEAD') exchange.empty(200)
    else this.#stream(exchange, record, [])
  }

  /** POST /api/chat/{id}/stop: ends the answer, wherever it is read. */
  async stop(exchange: Exchange, chat: string): Promise<void> {
    const record = await this.#find(chat)
    if (record !== null) await this.#gateway.cancel(record, 'client')
    exchange.empty(204)
  }

  #stream(exchange: Exchange, record: TaskRecord, headers: [string, string][]): void {
    exchange.task = record.task.id
    const chunks = new UiMessageChunks(() => this.#gateway.chats.read(record, Date.now()))
    const all = [...UI_MESSAGE_HEADERS, ...headers]
    new EventStream(exchange, this.#gateway, this.#streams, record, 0, chunks, all)
  }

  /** Null when nothing was missed, or when it is gone. */
  async #find(chat: string): Promise<TaskRecord | null> {
    const id = this.#gateway.chats.find(authenticate(), decoded(chat), Date.now())
    return id === null ? null : lookUp(this.#gateway, id)
  }
}

/** A part of a path as it was meant; one that does not decode names nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return ''
  }
}
