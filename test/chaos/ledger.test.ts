import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Expected, TaskLedger, type TaskObject } from '../../bench/chaos/ledger.js'
import type { Kind, Violation } from '../../bench/chaos/violations.js'
import type { TaskEvent } from '../../src/core/event.js'

const TASK = 'task_0123456789abcdefghijk'
const EXPECTED: Expected = { text: 'one two ', finish: 'stop', fails: null, deadlineMs: null }

/** As it comes from a wire: nobody has checked that it is one. */
const event = (seq: number, more: object): TaskEvent =>
  ({ task: TASK, seq, at: 1000 + seq, ...more }) as unknown as TaskEvent
const token = (seq: number, text: string, more: object = {}): TaskEvent =>
  event(seq, { type: 'token', text, tokens: 1, ...more })
const completed = (seq: number, more: object = {}): TaskEvent =>
  event(seq, {
    type: 'completed',
    finish_reason: 'stop',
    usage: { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 2 },
    timings: { queued_ms: 0, first_token_ms: 1, total_ms: 2 },
    ...more,
  })

const QUEUED = event(1, { type: 'queued', position: 0 })
const STARTED = event(2, { type: 'started', attempt: 1, model: 'scripted' })
const ONE = token(3, 'one ')
const TWO = token(4, 'two ')
const BOTH = token(4, 'one two ', { from: 3, tokens: 2 })
const END = completed(5)
const WHOLE = [QUEUED, STARTED, ONE, TWO, END]

const object = (more: Partial<TaskObject> = {}): TaskObject => ({
  id: TASK,
  status: 'completed',
  created_at: 1000,
  last_seq: 5,
  output: { text: 'one two ' },
  finish_reason: 'stop',
  usage: { completion_tokens: 2 },
  error: null,
  metadata: {},
  ...more,
})

/** A ledger, and what it has reported. */
function book(expected: Partial<Expected> = {}): { ledger: TaskLedger; found: Violation[] } {
  const found: Violation[] = []
  const ledger = new TaskLedger(TASK, 'task 0', { ...EXPECTED, ...expected }, (violation) => found.push(violation))
  return { ledger, found }
}

/** What a ledger reports of readers that each take these events in turn, one reader after the other. */
function reported(readers: TaskEvent[][], expected: Partial<Expected> = {}): Violation[] {
  const { ledger, found } = book(expected)
  for (const [i, events] of readers.entries()) {
    const reader = ledger.reader(`reader ${i}`)
    for (const event of events) reader.take(event)
  }
  return found
}

const kinds = (found: Violation[]): Kind[] => found.map(({ kind }) => kind)

describe('what readers were shown', () => {
  test('a whole log is no violation, however its tokens come merged', () => {
    const found = reported([WHOLE, [QUEUED, STARTED, BOTH, END], WHOLE])

    assert.deepEqual(found, [])
  })

  test('a reader that comes later to a position which others were shown is held to the text from there', () => {
    const { ledger, found } = book()
    for (const event of WHOLE) ledger.reader('first', event.seq - 1).take(event)

    const second = ledger.reader('second', 3)
    for (const event of [TWO, END]) second.take(event)
    ledger.reader('third', 3).take(token(4, 'TWO '))

    assert.equal(second.ended, true)
    assert.deepEqual(kinds(found), ['text'])
    assert.equal(found[0]?.reader, 'third')
  })

  const FAULTS: [what: string, kind: Kind, ...readers: TaskEvent[][]][] = [
    ['a lost event', 'lost', [QUEUED, STARTED, ONE, END]],
    ['a lost first event', 'lost', [STARTED, ONE, TWO, END]],
    ['a repeated event', 'repeated', [QUEUED, STARTED, ONE, ONE, TWO, END]],
    ['a repeated event that is no token', 'repeated', [QUEUED, STARTED, STARTED, ONE, TWO, END]],
    ['a merged event that overlaps what was seen', 'repeated', [QUEUED, STARTED, ONE, BOTH, END]],
    [
      'a merged event that leaves one out',
      'lost',
      [QUEUED, STARTED, token(5, 'two ', { from: 4, tokens: 1 }), completed(6)],
    ],
    ['an order that is not that of the log', 'lost', [QUEUED, ONE, STARTED, TWO, END]],
    ['an event after the end', 'end', [...WHOLE, token(6, 'x')]],
    ['a second terminal event', 'end', [...WHOLE, completed(6)]],
    ['a terminal event that another reader saw elsewhere', 'end', WHOLE, [QUEUED, STARTED, ONE, completed(4)]],
    [
      'an end before an event that another reader was shown',
      'end',
      [QUEUED, STARTED, ONE, TWO],
      [QUEUED, completed(2)],
    ],
    ['a wrong text', 'text', [QUEUED, STARTED, token(3, 'uno '), TWO, END]],
    ['a text beyond the whole one', 'text', [QUEUED, STARTED, ONE, TWO, token(5, 'x'), completed(6)]],
    ['a text whose borders differ', 'differs', WHOLE, [QUEUED, STARTED, token(3, 'one'), token(4, ' two ')]],
    ['a count of tokens that differs', 'differs', WHOLE, [QUEUED, STARTED, token(3, 'one ', { tokens: 2 })]],
    ['a field that differs', 'differs', WHOLE, [QUEUED, event(2, { type: 'started', attempt: 2, model: 'scripted' })]],
    ['a time that differs', 'differs', WHOLE, [{ ...QUEUED, at: 7 }]],
    ['a token that is another event for others', 'differs', WHOLE, [QUEUED, token(2, '')]],
    ['another event that is a token for others', 'differs', WHOLE, [QUEUED, STARTED, event(3, { type: 'progress' })]],
    [
      'another event in the middle of what came merged',
      'differs',
      [QUEUED, STARTED, BOTH],
      [QUEUED, STARTED, event(3, { type: 'progress' })],
    ],
    ['a merged event that has swallowed another one', 'differs', WHOLE, [QUEUED, token(3, 'one ', { from: 2 })]],
    ['an event of another task', 'form', [{ ...QUEUED, task: 'task_x' }]],
    ['a `from` on an event that stands for itself', 'form', [QUEUED, STARTED, token(3, 'one ', { from: 3 })]],
    ['a `from` after its `seq`', 'form', [QUEUED, STARTED, token(3, 'one ', { from: 4 })]],
    ['a token without text', 'form', [QUEUED, STARTED, event(3, { type: 'token', tokens: 1 })]],
  ]
  for (const [what, kind, ...readers] of FAULTS) {
    test(`${what} is found`, () => {
      const found = reported(readers)

      assert.ok(kinds(found).includes(kind), JSON.stringify(found))
    })
  }

  test('after a gap a reader is held to the order of what follows, and each fault is told once', () => {
    const found = reported([[QUEUED, STARTED, TWO, END]])

    assert.deepEqual(kinds(found), ['lost'])
    assert.match(found[0]?.what ?? '', /^events 3-3: after 2 came 4 \(token\)$/)
  })

  test('where nobody knows the text before, all are held to that of the first', () => {
    const unknown = { text: null }

    assert.deepEqual(reported([WHOLE, [QUEUED, STARTED, BOTH, END]], unknown), [])
    const ahead = reported([[QUEUED, STARTED, ONE], [QUEUED, STARTED, BOTH], WHOLE], unknown)
    assert.deepEqual(ahead, [])
    const other = [QUEUED, STARTED, token(3, 'ONE '), TWO, END]
    assert.deepEqual(kinds(reported([WHOLE, other], unknown)), ['text'])
  })
})

describe('what a task says of itself', () => {
  /** What is reported of a task whose readers saw `events`, and whose object was `last` after that. */
  function closed(events: TaskEvent[], last: Partial<TaskObject>, expected: Partial<Expected> = {}): Violation[] {
    const { ledger, found } = book(expected)
    const reader = ledger.reader('reader')
    for (const event of events) reader.take(event)
    ledger.look(object(last), ledger.floor)
    ledger.close(object(last))
    return found
  }

  test('an object that fits what readers saw is no violation', () => {
    assert.deepEqual(closed(WHOLE, {}), [])
  })

  test('a task whose end nobody saw is found', () => {
    assert.deepEqual(kinds(closed([QUEUED], { status: 'queued', last_seq: 1, output: { text: '' } })), ['unended'])
  })

  test('an object that is not what readers saw is found', () => {
    assert.deepEqual(kinds(closed(WHOLE, { last_seq: 6 })), ['end'])
    assert.deepEqual(kinds(closed(WHOLE, { output: { text: 'one TWO ' } })), ['text'])
    assert.deepEqual(kinds(closed(WHOLE, { output: { text: 'one ' } })), ['backwards', 'text'])
    assert.deepEqual(kinds(closed(WHOLE, { finish_reason: 'length' })), ['differs'])
    assert.deepEqual(kinds(closed(WHOLE, { status: 'running' })), ['backwards'])
  })

  test('an answer that completed before its text was whole is found', () => {
    const short = [QUEUED, STARTED, ONE, completed(4, { usage: { completion_tokens: 1 } })]

    assert.deepEqual(kinds(closed(short, { last_seq: 4, output: { text: 'one ' } })), ['text'])
  })

  test('a usage that is not the sum of the events is found', () => {
    const end = completed(5, { usage: { completion_tokens: 3 } })

    assert.deepEqual(kinds(closed([QUEUED, STARTED, ONE, TWO, end], {})), ['differs'])
  })

  test('a cancel that nobody asked for is found, and one that was asked for may leave a part of the text', () => {
    const canceled = (by: string): TaskEvent[] => [QUEUED, STARTED, ONE, event(4, { type: 'canceled', by })]
    const last = { status: 'canceled', last_seq: 4, output: { text: 'one ' }, finish_reason: null }

    for (const by of ['client', 'deadline', 'shutdown']) {
      assert.deepEqual(kinds(closed(canceled(by), last)), ['end'], by)
    }
    assert.deepEqual(kinds(closed(canceled('deadline'), last, { deadlineMs: 4 })), [])
    assert.deepEqual(kinds(closed(canceled('deadline'), last, { deadlineMs: 2000 })), ['end'])
    const { ledger, found } = book()
    ledger.canceling = true
    const reader = ledger.reader('reader')
    for (const event of canceled('client')) reader.take(event)
    ledger.close(object(last))
    assert.deepEqual(found, [])
  })

  test('a cancel that was acknowledged long before an answer completed is found, and a deadline, too', () => {
    const { ledger, found } = book()
    ledger.canceling = true
    ledger.canceledAt = 1000
    const reader = ledger.reader('reader')
    for (const event of [QUEUED, STARTED, ONE, TWO, completed(5, { at: 4000 })]) reader.take(event)
    ledger.close(object())

    const late = [QUEUED, STARTED, ONE, TWO, completed(5, { at: 4000 })]
    assert.deepEqual(kinds(found), ['cancel'])
    assert.deepEqual(kinds(closed(late, {}, { deadlineMs: 500 })), ['cancel'])
    assert.deepEqual(kinds(closed(late, {}, { deadlineMs: 2500 })), [])
  })

  test('a failure is a violation unless it is the one that was asked for', () => {
    const failed = [QUEUED, event(2, { type: 'failed', error: { code: 'worker_lost', message: '' } })]
    const last = { status: 'failed', last_seq: 2, output: { text: '' }, error: { code: 'worker_lost' } }

    assert.deepEqual(kinds(closed(failed, last)), ['end'])
    assert.deepEqual(kinds(closed(failed, last, { fails: 'worker_lost' })), [])
    assert.deepEqual(kinds(closed(WHOLE, {}, { fails: 'worker_lost' })), ['end'])
  })

  test('an answer that is older than what was seen when it was asked for is found', () => {
    const { ledger, found } = book()
    const before = ledger.floor
    const reader = ledger.reader('reader')
    for (const event of [QUEUED, STARTED, ONE]) reader.take(event)
    const running = { status: 'running', last_seq: 2, output: { text: '' } }

    // Asked for before, answered after: that is only late.
    ledger.look(object(running), before)
    assert.equal(found.length, 0)

    ledger.look(object(running), ledger.floor)
    assert.deepEqual(kinds(found), ['backwards', 'backwards'])
    assert.match(found[0]?.what ?? '', /last_seq 2, 3 was shown before/)
    assert.match(found[1]?.what ?? '', /0 characters, 4 were shown before/)
  })

  test('an end that an object had and a later one has not is found', () => {
    const { ledger, found } = book()
    ledger.look(object(), ledger.floor)

    ledger.look(object({ status: 'running' }), ledger.floor)
    ledger.look(object({ status: 'failed' }), ledger.floor)

    assert.deepEqual(kinds(found), ['backwards', 'backwards'])
  })

  test('a task that is not there is told once, not by each of its readers', () => {
    const { ledger, found } = book()

    ledger.reader('one').refused('lost', '404')
    ledger.reader('other').refused('lost', '404')
    ledger.reader('other').refused('ahead', '409')

    assert.deepEqual(kinds(found), ['lost', 'ahead'])
    assert.equal(ledger.gone, true)
  })
})
