/**
 * The four ways by which a task's events reach a client, each as one visit: connect with a position, take what comes
 * until the terminal event, a cut, or as many events as one wants, and hang up.
 *
 * What arrived whole before a cut counts as seen and nothing else does: that is the client's side of the promise.
 */
import assert from 'node:assert/strict'
import { get, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { createParser } from 'eventsource-parser'
import { pack, unpack } from 'msgpackr'
import WebSocket from 'ws'
import { isTerminal, type TaskEvent } from '../../src/core/event.js'
import type { Random } from './random.js'

export type Visit = {
  url: string
  task: string
  after: number
  /** Hangs up after so many events. */
  maxEvents?: number
  /** Nothing is read from the socket until this resolves; called when the answer has begun. */
  stall?: (socket: Socket) => Promise<unknown>
  /** Chooses among the forms in which a position can be given; the plainest without. */
  random?: Random
}

export type Path = {
  name: string
  /** The events that arrived. @throws Refused when the gateway says no */
  visit: (visit: Visit) => Promise<TaskEvent[]>
}

/** The gateway's answer was an error; `status` is null over WebSocket. */
export class Refused extends Error {
  readonly code: string
  readonly status: number | null

  constructor(code: string, status: number | null) {
    super(`${code} ${status}`)
    this.code = code
    this.status = status
  }
}

/** What a visit has seen; `full` says that it wants no more. */
class Seen {
  readonly events: TaskEvent[] = []
  readonly #max: number

  constructor({ maxEvents = Number.POSITIVE_INFINITY }: Visit) {
    this.#max = maxEvents
  }

  get full(): boolean {
    const last = this.events.at(-1)
    return this.events.length >= this.#max || (last !== undefined && isTerminal(last))
  }

  add(event: TaskEvent): void {
    if (!this.full) this.events.push(event)
  }
}

/** Undefined when the connection was cut before the answer began. */
export function request(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage | undefined> {
  return new Promise((resolve) => {
    // No agent: one connection for each request, so that a cut meets one.
    get(url, { agent: false, headers }, resolve).on('error', () => resolve(undefined))
  })
}

/** Null when the connection was cut before the body was whole. */
export async function body(response: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer)
  } catch {
    return null
  }
  return Buffer.concat(chunks).toString()
}

async function refusal(response: IncomingMessage): Promise<Refused | null> {
  const text = await body(response)
  if (text === null) return null
  return new Refused((JSON.parse(text) as { error: { code: string } }).error.code, response.statusCode ?? 0)
}

async function visitSse(visit: Visit): Promise<TaskEvent[]> {
  const { url, task, after } = visit
  const [query, header] = visit.random?.pick([
    [`?after=${after}`, ''],
    [`?last_event_id=${after}`, ''],
    ['', String(after)],
    // As an EventSource comes back: its first position is still in the URL.
    ['?after=0', String(after)],
  ]) ?? [`?after=${after}`, '']
  const response = await request(`${url}/v1/tasks/${task}/events${query}`, {
    accept: 'text/event-stream',
    ...(header === '' ? {} : { 'last-event-id': header }),
  })
  if (response === undefined || response.statusCode === 204) return []
  if (response.statusCode !== 200) {
    const refused = await refusal(response)
    if (refused) throw refused
    return []
  }
  await visit.stall?.(response.socket)
  const seen = new Seen(visit)
  const parser = createParser({
    onEvent({ id, event, data }) {
      const said = JSON.parse(data) as TaskEvent
      assert.deepEqual([id, event], [String(said.seq), said.type])
      seen.add(said)
    },
  })
  const decoder = new TextDecoder()
  try {
    for await (const chunk of response) {
      parser.feed(decoder.decode(chunk as Buffer, { stream: true }))
      // Also after the terminal event: the gateway must end the answer itself, with nothing more in it.
      if (seen.full && !isTerminal(seen.events.at(-1) as TaskEvent)) break
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  }
  response.destroy()
  return seen.events
}

type Page = { task: string; events: TaskEvent[]; next: number; done: boolean }

async function visitPage(visit: Visit): Promise<TaskEvent[]> {
  const { url, task, after, maxEvents } = visit
  const seen = new Seen(visit)
  let position = after
  while (!seen.full) {
    const limit = maxEvents === undefined ? '' : `&limit=${maxEvents}`
    const response = await request(`${url}/v1/tasks/${task}/events?after=${position}&wait=30${limit}`)
    if (response === undefined) return seen.events
    if (response.statusCode !== 200) {
      const refused = await refusal(response)
      if (refused) throw refused
      return seen.events
    }
    const text = await body(response)
    if (text === null) return seen.events
    const page = JSON.parse(text) as Page
    const last = page.events.at(-1)
    assert.equal(page.task, task)
    assert.equal(page.next, last?.seq ?? position)
    assert.equal(page.done, last ? isTerminal(last) : true)
    assert.ok(page.events.length <= (maxEvents ?? 100))
    for (const event of page.events) seen.add(event)
    if (page.done) return seen.events
    assert.ok(last, 'a long poll that was not done said nothing')
    position = page.next
  }
  return seen.events
}

type Frame =
  | TaskEvent
  | { type: 'subscribed'; task: string; last_seq: number }
  | { type: 'error'; error: { code: string } }

const visitSocket =
  (protocol: string, encode: (value: unknown) => string | Uint8Array, decode: (data: Buffer) => unknown) =>
  async (visit: Visit): Promise<TaskEvent[]> => {
    const socket = new WebSocket(`${visit.url.replace('http', 'ws')}/v1/ws`, protocol, { perMessageDeflate: false })
    const seen = new Seen(visit)
    let subscribed = false
    let defect: Error | null = null
    const take = (frame: Frame): void => {
      if (frame.type === 'error') throw new Refused(frame.error.code, null)
      if (frame.type === 'subscribed') {
        assert.equal(subscribed, false)
        assert.ok(frame.last_seq >= visit.after)
        subscribed = true
        return
      }
      assert.equal(subscribed, true, 'an event came before `subscribed`')
      seen.add(frame)
      if (seen.full) socket.terminate()
    }
    // A cut in the handshake or in a frame; `close` follows.
    socket.on('error', () => {})
    socket.on('upgrade', ({ socket: stream }) => {
      if (!visit.stall) return
      socket.on('open', () => socket.pause())
      visit.stall(stream).then(() => socket.resume())
    })
    socket.on('open', () => socket.send(encode({ type: 'subscribe', task: visit.task, after: visit.after })))
    socket.on('message', (data: Buffer) => {
      if (defect || seen.full) return
      try {
        take(decode(data) as Frame)
      } catch (error) {
        defect = error as Error
        socket.terminate()
      }
    })
    // Not `once`, for which an error is the end.
    await new Promise((resolve) => socket.on('close', resolve))
    if (defect) throw defect
    return seen.events
  }

export const PATHS: Path[] = [
  { name: 'SSE', visit: visitSse },
  { name: 'JSON pages', visit: visitPage },
  {
    name: 'WebSocket JSON',
    visit: visitSocket('rejoin.v1.json', JSON.stringify, (data) => JSON.parse(data.toString())),
  },
  { name: 'WebSocket msgpack', visit: visitSocket('rejoin.v1.msgpack', pack, unpack) },
]

/** Fails unless the events are those after `after`, each seq once, in order, to the one terminal event. */
export function checkWhole(events: TaskEvent[], task: string, after = 0): void {
  let next = after + 1
  for (const event of events) {
    const from = event.type === 'token' ? (event.from ?? event.seq) : event.seq
    assert.equal(event.task, task)
    assert.equal(from, next, `expected seq ${next}, got ${from}-${event.seq} (${event.type})`)
    assert.ok(event.seq >= from)
    if (event.type === 'token') assert.notEqual(event.from, event.seq, '`from` is absent when it is one event')
    next = event.seq + 1
  }
  const terminals = events.filter(isTerminal)
  assert.equal(terminals.length, 1)
  assert.equal(terminals[0], events.at(-1))
}
