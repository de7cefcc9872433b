import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import { Entry } from '../../src/core/entry.js'
import type { EventBody, TaskEvent } from '../../src/core/event.js'
import { newTaskId } from '../../src/core/id.js'
import { nativeFraming, SSE_KEEP_ALIVE, sseFrame } from '../../src/wire/sse.js'
import { anyText } from './texts.js'

const count = fc.nat(1_000_000)
const body: fc.Arbitrary<EventBody> = fc.oneof(
  fc.record({ type: fc.constant('queued' as const), position: count }),
  fc.record({ type: fc.constant('started' as const), attempt: count, model: anyText() }),
  fc.record({ type: fc.constant('token' as const), text: anyText(), tokens: count }),
  fc.record({ type: fc.constant('token' as const), text: anyText(), tokens: count, from: count }),
  fc.record({ type: fc.constant('progress' as const), percent: count }),
  fc.record({ type: fc.constant('retrying' as const), attempt: count, reason: anyText() }),
  fc.record({ type: fc.constant('failed' as const), error: fc.record({ code: anyText(), message: anyText() }) }),
  fc.record({ type: fc.constant('canceled' as const), by: fc.constantFrom('client' as const, 'shutdown' as const) }),
)
const task = newTaskId()
const event = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 50 }), fc.nat(2 ** 42), body)
  // As plain objects, which is what a parser makes: some of fast-check's have no prototype.
  .map(([seq, at, body]): TaskEvent => structuredClone({ task, seq, at, ...body }))

/** The text cut at arbitrary bytes, as a network may cut it. */
const cut = (bytes: Uint8Array, sizes: number[]): Uint8Array[] => {
  const pieces: Uint8Array[] = []
  let from = 0
  for (const size of sizes) {
    pieces.push(bytes.subarray(from, from + size))
    from += size
  }
  return [...pieces, bytes.subarray(from)]
}

test('any events come back from any reader of server-sent events, however the network cuts them', () => {
  const property = fc.property(
    fc.array(fc.tuple(event, fc.boolean()), { maxLength: 8 }),
    fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 }),
    (events, sizes) => {
      const seen: EventSourceMessage[] = []
      const parser = createParser({
        onEvent: (message) => seen.push(message),
        onError: (error) => assert.fail(error.message),
      })
      const frames = events.map(([event, beat]) => sseFrame(new Entry(event)) + (beat ? SSE_KEEP_ALIVE : ''))
      const decoder = new TextDecoder()

      for (const piece of cut(Buffer.from(nativeFraming(0.5).opening + frames.join('')), sizes)) {
        parser.feed(decoder.decode(piece, { stream: true }))
      }

      assert.deepEqual(
        seen.map(({ id, event, data }) => ({ id, event, data: JSON.parse(data) as TaskEvent })),
        events.map(([event]) => ({ id: String(event.seq), event: event.type, data: event })),
      )
    },
  )

  fc.assert(property, { numRuns: 500 })
})

test('a frame is its id, its type, one line of JSON and a blank line', () => {
  const entry = new Entry({ task: 'task_x', seq: 7, at: 5, type: 'token', text: 'a\nb\u2028', tokens: 2 })

  const frame = sseFrame(entry)

  assert.equal(
    frame,
    'id: 7\nevent: token\ndata: {"task":"task_x","seq":7,"at":5,"type":"token","text":"a\\nb\u2028","tokens":2}\n\n',
  )
  assert.equal(sseFrame(entry), frame)
})

test('a crowd that lost its server is told to come back within 750 to 1250 ms', () => {
  assert.equal(nativeFraming(0).opening, 'retry: 750\n\n')
  assert.equal(nativeFraming(0.5).opening, 'retry: 1000\n\n')
  assert.equal(nativeFraming(1).opening, 'retry: 1250\n\n')
})
