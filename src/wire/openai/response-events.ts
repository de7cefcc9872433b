/**
 * A task's log as the events of a response's stream.
 *
 * `sequence_number` is a function of the log's seq, so that `starting_after` names a position that holds for every
 * reader, after a restart, and however tokens were merged: 0 `created`, 1 `queued` (in the background), 2 to 4 the
 * beginning of the answer, then seq + 2. Numbers only grow; those of log events that this protocol does not have, and
 * of tokens that were merged, are left out.
 */
import type { Entry } from '../../core/entry.js'
import { isTerminal, type Seq, type TaskEvent, type TokenEvent } from '../../core/event.js'
import type { TaskState } from '../../core/state.js'
import type { Framing } from '../framing.js'
import { SSE_NOTHING } from '../sse.js'
import { DONE } from './completion.js'
import { type Answer, itemStatus, part, type ResponseView, statusOf } from './response.js'

/** From a log's seq to the number of the event that tells it. */
const SHIFT = 2
/** The last number that comes from the beginning of the log. */
const HEAD = 4
/** Events that tell of the end. */
const ENDING = 4

/** One event: its name, and all of it as JSON. */
export type ResponseEvent = { type: string; json: string }

/** What the stream tells of the task, when it ends. */
export type Told = { state: TaskState; answer: () => Answer }

/** The position in the log that a stream goes on from, after the event of that number.
 * @param end the seq of the log's last event, when it has ended */
export function logPosition(startingAfter: number, end: Seq | null): Seq {
  if (startingAfter <= HEAD) return 0
  const seq = startingAfter - SHIFT
  // Within the ending, which one event of the log stands for.
  return end !== null && seq >= end && seq < end + ENDING - 1 ? end - 1 : seq
}

/** The last number that there is, of a log that ended with `end`. */
export const lastNumber = (end: Seq): number => end + SHIFT + ENDING - 1

export class ResponseEvents {
  readonly #view: ResponseView
  readonly #told: Told
  readonly #after: number
  #started: boolean

  /** @param startingAfter the number of the event that the client saw last; -1 = none */
  constructor(view: ResponseView, told: Told, startingAfter: number) {
    this.#view = view
    this.#told = told
    this.#after = startingAfter
    this.#started = startingAfter > HEAD
  }

  of({ event }: Entry): ResponseEvent[] {
    switch (event.type) {
      case 'queued':
        return this.#from(0, this.#queued())
      case 'started': {
        if (this.#started) return []
        this.#started = true
        return this.#from(2, this.#begun())
      }
      case 'token':
        return [this.#delta(event)]
      case 'completed':
      case 'failed':
      case 'canceled':
        return this.#ended(event)
      default:
        return []
    }
  }

  #queued(): [string, object][] {
    const view = this.#view
    if (!view.origin.background) return [['response.created', { response: view.beginning('in_progress') }]]
    const response = view.beginning('queued')
    return [
      ['response.created', { response }],
      ['response.queued', { response }],
    ]
  }

  #begun(): [string, object][] {
    const view = this.#view
    return [
      ['response.in_progress', { response: view.beginning('in_progress') }],
      ['response.output_item.added', { output_index: 0, item: view.item('in_progress', null) }],
      ['response.content_part.added', { ...this.#place, part: part({ text: '', logprobs: null }) }],
    ]
  }

  #delta({ seq, text, logprobs }: TokenEvent): ResponseEvent {
    const type = 'response.output_text.delta'
    const json =
      `{"type":"${type}","item_id":"${this.#view.itemId}","output_index":0,"content_index":0,` +
      `"delta":${JSON.stringify(text)},"logprobs":${logprobs ? JSON.stringify(logprobs) : '[]'},"sequence_number":${seq + SHIFT}}`
    return { type, json }
  }

  #ended(event: TaskEvent): ResponseEvent[] {
    const { state } = this.#told
    const answer = this.#told.answer()
    const status = statusOf(state)
    const response = this.#view.current(state, answer)
    const said: [string, object][] = [
      ['response.output_text.done', { ...this.#place, text: answer.text, logprobs: answer.logprobs ?? [] }],
      ['response.content_part.done', { ...this.#place, part: part(answer) }],
      ['response.output_item.done', { output_index: 0, item: this.#view.item(itemStatus(status), answer) }],
    ]
    // A stream has no event of its own for a response that was canceled; its status tells.
    const type = status === 'cancelled' ? 'response.incomplete' : `response.${status}`
    const first = event.seq + SHIFT
    const last = this.#from(first + ENDING - 1, [[type, { response }]])
    return state.attempt > 0 ? [...this.#from(first, said), ...last] : last
  }

  get #place(): object {
    return { item_id: this.#view.itemId, output_index: 0, content_index: 0 }
  }

  /** Numbered from `first`; without those that the client has seen. */
  #from(first: number, events: [type: string, fields: object][]): ResponseEvent[] {
    return events
      .map(([type, fields], index) => ({ type, fields, number: first + index }))
      .filter(({ number }) => number > this.#after)
      .map(({ type, fields, number }) => ({ type, json: JSON.stringify({ type, ...fields, sequence_number: number }) }))
  }
}

/** The stream over HTTP: `event` is the type, and no `id`, as Open Responses wants it. */
export class ResponseFraming implements Framing {
  readonly opening = SSE_NOTHING
  readonly #events: ResponseEvents

  constructor(events: ResponseEvents) {
    this.#events = events
  }

  frame(entry: Entry): string {
    const frames = this.#events.of(entry).map(({ type, json }) => `event: ${type}\ndata: ${json}\n\n`)
    if (isTerminal(entry.event)) frames.push(DONE)
    return frames.join('')
  }
}
