/**
 * The native HTTP surface: tasks and their events (PROTOCOL sections 4 and 5).
 *
 * Each handler reads from the exchange, asks one verb of the gateway, and answers. Refusals are thrown and become
 * the answer in `routes.ts`.
 */
import type { Entry } from '../core/entry.js'
import { RejoinError } from '../core/errors.js'
import type { Seq } from '../core/event.js'
import type { TaskStatus } from '../core/task.js'
import type { Gateway } from '../gateway/gateway.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Reader } from '../log/reader.js'
import { entryJson, eventsPage, taskObject } from '../wire/json.js'
import { parseInteger, parsePosition, parseSeconds } from '../wire/query.js'
import { parseJson, parseTaskRequest } from '../wire/request.js'
import { nativeFraming } from '../wire/sse.js'
import { authenticate } from './auth.js'
import { EventStream, type Streams } from './events.js'
import { checkedId, newSeed, received } from './received.js'
import type { Exchange } from './request.js'
import { waitFor } from './waiting.js'

const MAX_WAIT_S = 60
/** A page ends at its limit, or with the item that takes it past so much text. A merged event of it has up to `eventBytes`. */
const PAGE = { default: 100, max: 1000, textBytes: 1_048_576, eventBytes: 32_768 }
const STATUSES: readonly string[] = ['queued', 'running', 'completed', 'failed', 'canceled'] satisfies TaskStatus[]

export class NativeApi {
  readonly #gateway: Gateway
  readonly #streams: Streams
  readonly #maxBodyBytes: number

  constructor(gateway: Gateway, streams: Streams, maxBodyBytes: number) {
    this.#gateway = gateway
    this.#streams = streams
    this.#maxBodyBytes = maxBodyBytes
  }

  /** POST /v1/tasks */
  async submit(exchange: Exchange): Promise<void> {
    const caller = authenticate()
    const body = await exchange.body(this.#maxBodyBytes)
    const spec = parseTaskRequest(parseJson(body), newSeed)
    const what = received(exchange, body)
    const { record, replay } = exchange.wantsEvents
      ? await this.#gateway.submitFollowed(caller, spec, what)
      : await this.#gateway.submit(caller, spec, what)
    const headers: [string, string][] = [['Location', `/v1/tasks/${record.task.id}`]]
    if (replay) headers.push(['Idempotent-Replay', 'true'])
    if (!exchange.open) return
    if (exchange.wantsEvents) this.#stream(exchange, record, 0, headers)
    else exchange.json(replay ? 200 : 202, this.#object(record), headers)
  }

  /** GET /v1/tasks/{id} */
  async task(exchange: Exchange, id: string): Promise<void> {
    const record = await this.#find(id)
    const waitMs = parseSeconds(exchange.query.get('wait'), 'wait', MAX_WAIT_S) ?? 0
    if (!exchange.open) return
    if (waitMs > 0 && !record.state.ended) {
      const ended = (): boolean => record.state.ended
      await waitFor(exchange, this.#gateway, this.#streams.answers, record, record.log.lastSeq, waitMs, ended, () => {})
    }
    const etag = `"${record.log.lastSeq}"`
    if (exchange.knows(etag)) exchange.empty(304, [['ETag', etag]])
    else exchange.json(200, this.#object(record), [['ETag', etag]])
  }

  /** GET /v1/tasks */
  async list(exchange: Exchange): Promise<void> {
    const { query } = exchange
    const status = query.get('status')
    if (status !== null && !STATUSES.includes(status)) {
      throw new RejoinError(
        'invalid_request',
        `\`status\` must be one of ${STATUSES.join(', ')}, got ${JSON.stringify(status)}`,
        {
          param: 'status',
        },
      )
    }
    const limit = parseInteger(query.get('limit'), 'limit', 1, PAGE.max) ?? PAGE.default
    const before = parseInteger(query.get('cursor'), 'cursor', 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY
    const { records, next } = await this.#gateway.list(authenticate(), before, limit, status as TaskStatus | null)
    const page = upTo(limit, PAGE.textBytes, records, (record) => record.log.textBytes)
    const cursor = page.length < records.length ? (page.at(-1)?.task.ordinal ?? next) : next
    exchange.json(200, {
      object: 'list',
      data: page.map((record) => this.#object(record)),
      has_more: cursor !== null,
      next_cursor: cursor === null ? null : String(cursor),
    })
  }

  /** DELETE /v1/tasks/{id} */
  async cancel(exchange: Exchange, id: string): Promise<void> {
    const record = await this.#find(id)
    const canceling = await this.#gateway.cancel(record, 'client')
    exchange.json(canceling ? 202 : 200, this.#object(record))
  }

  /** GET /v1/tasks/{id}/events */
  async events(exchange: Exchange, id: string): Promise<void> {
    const record = await this.#find(id)
    if (!exchange.open) return
    if (!exchange.wantsEvents) return this.#page(exchange, record)
    const after = streamPosition(exchange)
    // The terminal event was seen: 204 is what makes an EventSource stop coming back.
    if (record.log.ended && after === record.log.lastSeq) exchange.empty(204)
    else this.#stream(exchange, record, after, [])
  }

  /** GET /v1/tasks/{id}/artifacts/{name} */
  async artifact(_exchange: Exchange, id: string, name: string): Promise<void> {
    const record = await this.#find(id)
    throw new RejoinError('artifact_not_found', `${record.task.id} has no artifact ${JSON.stringify(name)}`)
  }

  #stream(exchange: Exchange, record: TaskRecord, after: Seq, headers: [string, string][]): void {
    new EventStream(exchange, this.#gateway, this.#streams, record, after, nativeFraming(Math.random()), headers)
  }

  /** Events as one JSON page; with `wait`, a long poll. */
  async #page(exchange: Exchange, record: TaskRecord): Promise<void> {
    const { query } = exchange
    const after = parsePosition(query.get('after'), 'after') ?? 0
    const limit = parseInteger(query.get('limit'), 'limit', 1, PAGE.max) ?? PAGE.default
    const waitMs = parseSeconds(query.get('wait'), 'wait', MAX_WAIT_S) ?? 0
    const enough = (reader: Reader): boolean => waitMs === 0 || reader.behind || reader.done
    const page = await waitFor(
      exchange,
      this.#gateway,
      this.#streams.answers,
      record,
      after,
      waitMs,
      enough,
      (reader) => {
        const entries = upTo(limit, PAGE.textBytes, missed(reader), (entry) => entryJson(entry).length)
        return eventsPage(record.task.id, entries, reader.position, reader.done)
      },
    )
    exchange.send(200, 'application/json', page, [['Cache-Control', 'no-store']])
  }

  #find(id: string): Promise<TaskRecord> {
    return this.#gateway.find(authenticate(), checkedId(id))
  }

  #object(record: TaskRecord): Record<string, unknown> {
    return taskObject(record.state, this.#gateway.extras(record))
  }
}

/** The first items, at most `limit`, ending with the one that takes the sum of their sizes past `maxBytes`. */
function upTo<T>(limit: number, maxBytes: number, items: Iterable<T>, bytesOf: (item: T) => number): T[] {
  const taken: T[] = []
  let bytes = 0
  for (const item of items) {
    taken.push(item)
    bytes += bytesOf(item)
    if (taken.length === limit || bytes > maxBytes) break
  }
  return taken
}

function* missed(reader: Reader): Generator<Entry> {
  for (let entry = reader.next(PAGE.eventBytes); entry; entry = reader.next(PAGE.eventBytes)) yield entry
}

/** The header wins over the query: a reconnecting EventSource sends both, and only the header moves on. */
function streamPosition(exchange: Exchange): Seq {
  const { query } = exchange
  return (
    parsePosition(exchange.header('last-event-id') || null, 'Last-Event-ID') ??
    parsePosition(query.get('after'), 'after') ??
    parsePosition(query.get('last_event_id'), 'last_event_id') ??
    parsePosition(query.get('starting_after'), 'starting_after') ??
    0
  )
}
