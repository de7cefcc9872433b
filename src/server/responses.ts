/**
 * OpenAI's Responses over HTTP: `/v1/responses` and what is under it.
 *
 * A response is a task that was made here; it is told from the task's log alone, so it is there for as long as that is,
 * after a restart too, and any number of clients can stream it, from any position.
 */
import { RejoinError } from '../core/errors.js'
import type { TaskSpec } from '../core/task.js'
import type { Gateway } from '../gateway/gateway.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Absent } from '../wire/fields.js'
import { DONE } from '../wire/openai/completion.js'
import { taskOfId } from '../wire/openai/ids.js'
import { type Answer, ResponseView } from '../wire/openai/response.js'
import { lastNumber, logPosition, ResponseEvents, ResponseFraming } from '../wire/openai/response-events.js'
import {
  goOn,
  parseResponseRequest,
  type ResponseOrigin,
  type ResponseRequest,
} from '../wire/openai/response-request.js'
import { parsePosition } from '../wire/query.js'
import { parseJson } from '../wire/request.js'
import { ask, endOf, lookUp } from './asking.js'
import { EventStream, type Streams } from './events.js'
import { received } from './received.js'
import type { Exchange } from './request.js'

/** A task that is a response. */
export type Found = { record: TaskRecord; origin: ResponseOrigin }

export class ResponsesApi {
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

  /** POST /v1/responses */
  async create(exchange: Exchange): Promise<void> {
    const body = await exchange.body(this.#maxBodyBytes)
    const request = parseResponseRequest(parseJson(body), this.#absent)
    const { spec, bytes } = await specOf(this.#gateway, request, null)
    const what = received(exchange, body, 'response')
    const asked = { ...what, bytes: what.bytes + bytes }
    const { record, headers } = await ask(exchange, this.#gateway, spec, asked)
    if (!exchange.open) return
    const { origin } = request.spec
    if (request.stream) return this.#stream(exchange, { record, origin }, -1, headers)
    if (!origin.background) await endOf(exchange, this.#gateway, this.#streams.answers, record)
    exchange.json(200, this.#object({ record, origin }), headers)
  }

  /** GET /v1/responses/{id} */
  async retrieve(exchange: Exchange, id: string): Promise<void> {
    const found = await this.#find(exchange, id)
    if (!exchange.open) return
    const { query } = exchange
    const startingAfter = parsePosition(query.get('starting_after'), 'starting_after') ?? -1
    if (query.get('stream') === 'true' && exchange.method !== 'HEAD') this.#stream(exchange, found, startingAfter, [])
    else exchange.json(200, this.#object(found))
  }

  /** POST /v1/responses/{id}/cancel */
  async cancel(exchange: Exchange, id: string): Promise<void> {
    const found = await this.#find(exchange, id)
    await this.#gateway.cancel(found.record, 'client')
    if (!exchange.open) return
    await endOf(exchange, this.#gateway, this.#streams.answers, found.record)
    exchange.json(200, this.#object(found))
  }

  /** DELETE /v1/responses/{id} */
  async remove(exchange: Exchange, id: string): Promise<void> {
    const { record } = await this.#find(exchange, id)
    await this.#gateway.cancel(record, 'client')
    if (!exchange.open) return
    await endOf(exchange, this.#gateway, this.#streams.answers, record)
    await this.#gateway.remove(record)
    exchange.json(200, { id, object: 'response.deleted', deleted: true })
  }

  #stream(exchange: Exchange, { record, origin }: Found, startingAfter: number, headers: [string, string][]): void {
    const { log } = record
    const end = log.ended ? log.lastSeq : null
    if (end !== null && startingAfter === lastNumber(end)) {
      // Everything was seen: a stream all the same, since that is what the client reads.
      exchange.send(200, 'text/event-stream', DONE, headers)
      return
    }
    const framing = new ResponseFraming(eventsOf(this.#gateway, { record, origin }, startingAfter))
    const after = logPosition(startingAfter, end)
    new EventStream(exchange, this.#gateway, this.#streams, record, after, framing, headers)
  }

  #object({ record, origin }: Found): Record<string, unknown> {
    return viewOf(this.#gateway, record, origin).current(record.state, answerOf(record))
  }

  async #find(exchange: Exchange, id: string): Promise<Found> {
    const found = await findResponse(this.#gateway, id)
    if (found === null || !found.origin.store) {
      throw new RejoinError('response_not_found', `Response with id ${JSON.stringify(id.slice(0, 100))} not found.`)
    }
    exchange.task = found.record.task.id
    return found
  }
}

/** Null when there is none, or none any more. */
export async function findResponse(gateway: Gateway, id: string): Promise<Found | null> {
  const task = taskOfId('resp_', id)
  const record = task === null ? null : await lookUp(gateway, task)
  const origin = record?.task.spec.origin
  return record !== null && origin?.type === 'response' ? { record, origin } : null
}

/** What the task is to do, with all turns before; `bytes` of these.
 * @param atHand a response that this client alone can go on from
 * @throws RejoinError `previous_response_not_found`, `invalid_request` */
export async function specOf(
  gateway: Gateway,
  request: ResponseRequest,
  atHand: Found | null,
): Promise<{ spec: TaskSpec; bytes: number }> {
  const { previous } = request.spec.origin
  if (previous === null) return { spec: request.spec, bytes: 0 }
  const mine = atHand !== null && taskOfId('resp_', previous) === atHand.record.task.id
  const found = mine ? atHand : await findResponse(gateway, previous)
  const param = 'previous_response_id'
  if (found === null || (!mine && !found.origin.store)) {
    const message = `Previous response with id ${JSON.stringify(previous)} not found.`
    throw new RejoinError('previous_response_not_found', message, { param })
  }
  const { task, log, state } = found.record
  if (state.status !== 'completed') {
    const message = `Previous response ${previous} is ${state.status}: only one that has completed can be gone on from.`
    throw new RejoinError('previous_response_not_found', message, { param })
  }
  return { spec: goOn(request, task.spec, log.text()), bytes: task.bytes + log.textBytes }
}

export function eventsOf(gateway: Gateway, { record, origin }: Found, startingAfter: number): ResponseEvents {
  const told = { state: record.state, answer: () => answerOf(record) }
  return new ResponseEvents(viewOf(gateway, record, origin), told, startingAfter)
}

const viewOf = (gateway: Gateway, { task }: TaskRecord, origin: ResponseOrigin): ResponseView =>
  new ResponseView(task, origin, gateway.samplingDefaults(task.model))

const answerOf = ({ log }: TaskRecord): Answer => ({ text: log.text(), logprobs: log.logprobs() })
