/**
 * A visit over SSE: one response from a position on, read at the pace and cut at the moment that its plan says.
 */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import type { TaskEvent } from '../../../src/core/event.js'
import type { VisitPlan } from '../accidents.js'
import { answerOf, codeOf, open } from '../http.js'
import type { ReaderLedger } from '../reader-ledger.js'
import type { Setting } from '../setting.js'
import type { Outcome, Visit } from './follow.js'

/** From the terminal event to the end of the response. */
const END_WITHIN_MS = 5000

export const visitSse: Visit = async (setting, reader, plan, signal) => {
  const { query, header } = positionOf(reader.position, plan.position)
  const path = `/v1/tasks/${reader.task.task}/events${query}`
  const response = await open(setting.port, { path, headers: { accept: 'text/event-stream', ...header } }, signal)
  if (response === null) return { type: 'lost' }
  if (response.statusCode === 204) {
    response.resume()
    reader.violation('lost', `204 at position ${reader.position}, where no end was seen`)
    return { type: 'over' }
  }
  return readStream(setting, response, reader, plan)
}

/** Takes what a stream says. An answer of another status than 200 is a refusal. */
export async function readStream(
  { counts }: Setting,
  response: IncomingMessage,
  reader: ReaderLedger,
  plan: VisitPlan,
): Promise<Outcome> {
  if (response.statusCode !== 200) return refusal(response)
  let room = plan.cut?.after === 'events' ? plan.cut.count : Number.POSITIVE_INFINITY
  const parser = createParser({
    onEvent({ id, event, data }) {
      if (room-- <= 0) return
      const said = parse(data)
      if (said === null || id !== String(said.seq) || event !== said.type) {
        return reader.violation('form', `id ${id}, event ${event}, data ${data.slice(0, 200)}`)
      }
      counts.events++
      reader.take(said)
    },
  })
  const decoder = new TextDecoder()
  let left = plan.cut?.after === 'bytes' ? plan.cut.count : Number.POSITIVE_INFINITY
  let stallIn = plan.stall?.afterBytes ?? Number.POSITIVE_INFINITY
  let cut = false
  const hangUp = (): void => {
    cut = true
    response.destroy()
  }
  const timer = plan.cut?.after === 'ms' ? setTimeout(hangUp, plan.cut.count) : undefined
  let endTimer: NodeJS.Timeout | undefined
  try {
    for await (const chunk of response) {
      const bytes = chunk as Buffer
      parser.feed(decoder.decode(bytes.subarray(0, left), { stream: true }))
      left -= bytes.length
      if (reader.ended) {
        // No stall of ours from here on: what takes long now is the gateway.
        endTimer ??= setTimeout(() => staysOpen(reader, response), END_WITHIN_MS)
        continue
      }
      if (left <= 0 || room <= 0) return { type: 'cut' }
      if (plan.pauseMs > 0) await sleep(plan.pauseMs)
      stallIn -= bytes.length
      if (stallIn <= 0) await sleep(plan.stall?.ms)
      if (stallIn <= 0) stallIn = Number.POSITIVE_INFINITY
    }
    if (!reader.ended && !cut) reader.violation('lost', 'the stream ended in order, without a terminal event')
    return { type: cut ? 'cut' : 'over' }
  } catch {
    return { type: cut ? 'cut' : 'lost' }
  } finally {
    clearTimeout(timer)
    clearTimeout(endTimer)
    response.destroy()
  }
}

/** The forms in which a position can be given; a reconnecting EventSource sends its first one along. */
function positionOf(seq: number, form: VisitPlan['position']): { query: string; header: Record<string, string> } {
  const header = { 'last-event-id': String(seq) }
  switch (form) {
    case 'header':
      return { query: '', header }
    case 'both':
      return { query: '?after=0', header }
    default:
      return { query: `?${form}=${seq}`, header: {} }
  }
}

async function refusal(response: IncomingMessage): Promise<Outcome> {
  const answer = await answerOf(response)
  return answer ? { type: 'refused', status: answer.status, code: codeOf(answer.text) } : { type: 'lost' }
}

function parse(data: string): TaskEvent | null {
  try {
    return JSON.parse(data) as TaskEvent
  } catch {
    return null
  }
}

function staysOpen(reader: ReaderLedger, response: IncomingMessage): void {
  reader.violation('end', `the stream is open ${END_WITHIN_MS} ms after the terminal event`)
  response.destroy()
}
