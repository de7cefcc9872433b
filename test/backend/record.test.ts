import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type JournalEntry, RecordWriter, readRecord } from '../../src/backend/embedded/record.js'
import type { EventBody, TaskEvent } from '../../src/core/event.js'
import { looseFlush } from '../flush.js'
import { aTask } from '../task.js'
import { anyText } from '../wire/texts.js'

const HEADER = 8
const TASK = 'task_x'

const whole = (text: string): string => Buffer.from(text).toString()

const LIKELY: EventBody = {
  type: 'token',
  text: 'a',
  tokens: 1,
  logprobs: [{ token: 'a', bytes: [97], logprob: -0.5, top_logprobs: [{ token: 'b', bytes: [98], logprob: -1 }] }],
}

const body: fc.Arbitrary<EventBody> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('token' as const), text: anyText().map(whole), tokens: fc.nat(300) }),
  },
  fc.constantFrom<EventBody>({ type: 'progress', percent: 25 }, { type: 'retrying', attempt: 2, reason: 'ünïcode 🦊' }),
)

const FAILED: EventBody = { type: 'failed', error: { code: 'model_failed', message: 'x' } }

// Of one task: either all of its tokens have logprobs, or none, and at most one end.
const bodies = fc.oneof(
  { weight: 6, arbitrary: fc.array(body, { minLength: 1, maxLength: 10 }) },
  fc.array(fc.constantFrom<EventBody>(LIKELY, { type: 'progress', percent: 25 }), { minLength: 1, maxLength: 5 }),
  fc.array(body, { maxLength: 5 }).map((bodies) => [...bodies, FAILED]),
)

const entry: fc.Arbitrary<JournalEntry> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .record({
        ordinal: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        attempt: fc.nat(1000),
        seq: fc.integer({ min: 1, max: 50 }),
        bodies,
        ids: fc.array(fc.integer({ min: -1, max: 2 ** 31 - 1 }), { maxLength: 20 }),
      })
      .map(({ ordinal, attempt, seq, bodies, ids }) => ({
        type: 'words' as const,
        ordinal,
        attempt,
        ids,
        events: bodies.map((body, index) => ({ seq: seq + index, at: 1_790_000_000_000 + index, ...body })),
      })),
  },
  fc.constant<JournalEntry>({
    type: 'task',
    task: aTask({ promptIds: Int32Array.of(1, -1, 2 ** 31 - 1), text: 'ünïcode 🦊', metadata: { a: 'b' } }),
    first: { task: TASK, seq: 1, at: 1, type: 'queued', position: 3 },
  }),
  fc.constant<JournalEntry>({ type: 'cancel', ordinal: 7, by: 'deadline' }),
)

function write(record: RecordWriter, entry: JournalEntry): void {
  if (entry.type === 'task') record.task(entry.task, entry.first)
  else if (entry.type === 'cancel') record.cancel(entry.ordinal, entry.by)
  else {
    const [first, ...rest] = entry.events.map((event) => ({ task: TASK, ...event }) as TaskEvent)
    record.words(entry.ordinal, looseFlush(entry.attempt, [first as TaskEvent, ...rest], entry.ids))
  }
}

const read = (record: RecordWriter): JournalEntry[] => [...readRecord(Buffer.from(record.bytes.subarray(HEADER)))]

test('what is written is read again, entry by entry, whatever the texts', () => {
  const record = new RecordWriter(HEADER)

  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      record.clear()
      for (const entry of entries) write(record, entry)

      assert.deepEqual(read(record), entries)
      assert.equal(record.empty, entries.length === 0)
    }),
  )
})

test('half of a character is read as U+FFFD, as every reader of it is told', () => {
  const record = new RecordWriter(HEADER)
  write(record, {
    type: 'words',
    ordinal: 1,
    attempt: 1,
    ids: [],
    events: [{ seq: 2, at: 1, type: 'token', text: 'a\ud83d', tokens: 1 }],
  })

  const [read1] = read(record)

  assert.equal(read1?.type === 'words' && read1.events[0]?.type === 'token' && read1.events[0].text, 'a\ufffd')
})

test('entries that are cut out leave the others as they were', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(entry, fc.boolean()), { maxLength: 12 }), (given) => {
      const record = new RecordWriter(HEADER)
      const places = given.map(([entry]) => {
        const from = record.end
        write(record, entry)
        return { from, to: record.end }
      })

      for (const [index, [, cut]] of [...given.entries()].reverse()) {
        const { from, to } = places[index] as { from: number; to: number }
        if (cut) record.cut(from, to)
      }

      assert.deepEqual(
        read(record),
        given.filter(([, cut]) => !cut).map(([entry]) => entry),
      )
    }),
  )
})

test('bytes that are no record are refused', () => {
  assert.throws(() => [...readRecord(Buffer.from([9, 0, 0]))], /an entry of kind 9 at byte 0/)
})
