import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Entry } from '../../src/core/entry.js'
import { type EventBody, isTerminal, type Seq, type TaskEvent, type TokenLogprob } from '../../src/core/event.js'
import type { Reader } from '../../src/log/reader.js'
import { TaskLog } from '../../src/log/task-log.js'
import { anyText } from '../wire/texts.js'

const TASK = 'task_x'
const SLOTS = 16
const FIRST_AT = 1_790_000_000_000
const NOTHING = (): void => {}

const event = (seq: Seq, body: EventBody): TaskEvent => ({ task: TASK, seq, at: FIRST_AT + seq, ...body })

const token = (text: string, tokens = 1): EventBody => ({ type: 'token', text, tokens })
const COMPLETED: EventBody = {
  type: 'completed',
  finish_reason: 'stop',
  usage: { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1 },
  timings: { queued_ms: 0, first_token_ms: null, total_ms: 1 },
}

const logOf = (...bodies: EventBody[]): TaskLog => {
  const log = new TaskLog(TASK, SLOTS)
  for (const body of bodies) log.append(event(log.lastSeq + 1, body))
  return log
}

const readerAt = (log: TaskLog, after: Seq, wake = NOTHING): Reader => {
  const attached = log.attach(after, wake)
  if (attached.type !== 'reader') throw new Error(`position ${after} is ${attached.type}`)
  return attached.reader
}

const drain = (reader: Reader, maxBytes = Number.MAX_SAFE_INTEGER): TaskEvent[] => {
  const events: TaskEvent[] = []
  for (let entry = reader.next(maxBytes); entry; entry = reader.next(maxBytes)) events.push(entry.event)
  return events
}

/** What a stretch of neighbouring tokens looks like as one event. */
const merged = (stretch: TaskEvent[]): TaskEvent => {
  const first = stretch[0] as TaskEvent
  const last = stretch.at(-1) as TaskEvent
  let text = ''
  let tokens = 0
  const logprobs: TokenLogprob[] = []
  for (const event of stretch) {
    assert.equal(event.type, 'token', 'only tokens are merged')
    if (event.type !== 'token') continue
    text += Buffer.from(event.text).toString()
    tokens += event.tokens
    logprobs.push(...(event.logprobs ?? []))
  }
  const from = stretch.length > 1 ? { from: first.seq } : {}
  const likely = logprobs.length > 0 ? { logprobs } : {}
  return { task: TASK, seq: last.seq, type: 'token', at: last.at, text, tokens, ...from, ...likely }
}

/** What a model might say of the answer's token number `k`. */
const logprobOf = (k: number, alternatives: number): TokenLogprob => ({
  token: `t${k}`,
  bytes: [116, k % 256],
  logprob: -k,
  top_logprobs: Array.from({ length: alternatives }, (_, i) => ({ token: `a${i}`, bytes: [97, i], logprob: -k - i })),
})

/** Bytes of JSON that a token with so many alternatives is taken for. */
const jsonBytesOf = (alternatives: number): number => 72 * (1 + alternatives)

type Step =
  | { type: 'append'; body: EventBody; times: number }
  | { type: 'attach'; at: number }
  | { type: 'read'; reader: number; maxBytes: number; entries: number }

const body: fc.Arbitrary<EventBody> = fc.oneof(
  { weight: 12, arbitrary: fc.tuple(anyText(4), fc.nat(3)).map(([text, tokens]) => token(text, tokens)) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('progress' as const), percent: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.constant<EventBody>({ type: 'retrying', attempt: 2, reason: 'lost' }) },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant('append' as const), body, times: fc.constantFrom(1, 1, 1, 9) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('attach' as const), at: fc.nat(1_000_000) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      reader: fc.nat(20),
      maxBytes: fc.nat(40),
      entries: fc.integer({ min: 1, max: 4 }),
    }),
  },
)

/** The log as it should be: all events in an array. Every reader is checked against it, event by event. */
class Model {
  readonly log = new TaskLog(TASK, SLOTS)
  readonly events: TaskEvent[] = []
  readonly readers: { reader: Reader; seen: Seq; woken: number }[] = []
  /** Of every token; null: its task did not ask for logprobs. */
  readonly alternatives: number | null
  #tokens = 0

  constructor(alternatives: number | null) {
    this.alternatives = alternatives
  }

  append(body: EventBody): void {
    const next = event(this.events.length + 1, this.#withLogprobs(body))
    const woken = this.readers.map(({ woken }) => woken)
    this.events.push(next)
    this.log.append(next)
    assert.deepEqual(
      this.readers.map(({ woken }) => woken),
      woken.map((times) => times + 1),
      'each reader is told once',
    )
  }

  #withLogprobs(body: EventBody): EventBody {
    const { alternatives } = this
    if (body.type !== 'token' || alternatives === null) return body
    const first = this.#tokens
    this.#tokens += body.tokens
    return { ...body, logprobs: Array.from({ length: body.tokens }, (_, i) => logprobOf(first + i, alternatives)) }
  }

  attach(after: Seq): void {
    const last = this.events.length
    const mine = { woken: 0 } as (typeof this.readers)[number]
    const attached = this.log.attach(after, () => mine.woken++)
    if (after > last) {
      assert.deepEqual(attached, { type: 'ahead', last })
      return
    }
    if (!this.known(after)) {
      assert.deepEqual(attached, { type: 'gone', first: last - SLOTS + 1 })
      return
    }
    assert.equal(attached.type, 'reader', `position ${after} of ${last}`)
    if (attached.type !== 'reader') return
    mine.reader = attached.reader
    mine.seen = after
    this.readers.push(mine)
  }

  /** A position is known that is 0, within the ring, an event other than a token or right before one. */
  known(seq: Seq): boolean {
    const mark = (at: Seq): boolean => this.events[at - 1] !== undefined && this.events[at - 1]?.type !== 'token'
    return seq === 0 || seq > this.events.length - SLOTS || mark(seq) || mark(seq + 1)
  }

  read(index: number, maxBytes: number): void {
    const mine = this.readers[index % Math.max(1, this.readers.length)]
    if (!mine) return
    const behind = mine.seen < this.events.length
    assert.deepEqual([mine.reader.behind, mine.reader.position], [behind, mine.seen])
    const entry = mine.reader.next(maxBytes)
    if (!behind) {
      assert.equal(entry, null)
      return
    }
    const { seq } = (entry as Entry).event
    const stretch = this.events.slice(mine.seen, seq)
    assert.ok(stretch.length > 0, `an event after ${mine.seen} has seq ${seq}`)
    const expected = stretch.length === 1 && stretch[0]?.type !== 'token' ? (stretch[0] as TaskEvent) : merged(stretch)
    // The time of an overwritten event is not known any more; the event that follows tells it nearly.
    if (expected.type === 'token' && seq <= this.events.length - SLOTS) expected.at = (entry as Entry).event.at
    assert.deepEqual((entry as Entry).event, expected)
    assert.ok([seq, seq + 1].includes(expected.at - FIRST_AT))
    // A stretch may be larger than asked for only where no border within it is known any more.
    if (expected.type === 'token' && Math.max(Buffer.byteLength(expected.text), this.jsonBytes(expected)) > maxBytes) {
      const lastBut = Math.max(seq - 1, mine.seen)
      assert.ok(lastBut === mine.seen || lastBut <= this.events.length - SLOTS, `${mine.seen} … ${seq}: ${maxBytes}`)
    }
    mine.seen = seq
    assert.equal(mine.reader.done, seq === this.events.length && isTerminal(this.events.at(-1) as TaskEvent))
  }

  jsonBytes({ logprobs = [] }: { logprobs?: TokenLogprob[] }): number {
    return logprobs.length * jsonBytesOf(this.alternatives ?? 0)
  }

  text(): string {
    return this.events.map((event) => (event.type === 'token' ? Buffer.from(event.text).toString() : '')).join('')
  }
}

describe('a task log with a small ring', () => {
  test('gives every reader every event once, in order, merged right, whatever happens around it', () => {
    const steps = fc.array(step, { minLength: 1, maxLength: 120 })
    const alternatives = fc.constantFrom(null, null, 0, 2)
    const property = fc.property(steps, fc.boolean(), fc.nat(60), alternatives, (steps, ends, bytes, alternatives) => {
      const model = new Model(alternatives)
      // Enough for several tokens with their logprobs, or for several without.
      const scale = alternatives === null ? 1 : 12
      const maxBytes = bytes * scale
      model.attach(0)
      for (const step of steps) {
        if (step.type === 'attach') model.attach(step.at % (model.events.length + 2))
        else if (step.type === 'append') for (let i = 0; i < step.times; i++) model.append(step.body)
        else for (let i = 0; i < step.entries; i++) model.read(step.reader, step.maxBytes * scale)
        assert.equal(model.log.lastSeq, model.events.length)
      }
      if (ends) model.append(COMPLETED)

      assert.equal(model.log.text(), model.text())
      assert.equal(model.log.ended, ends)
      for (let after = 0; after <= model.events.length + 1; after++) model.attach(after)
      for (const [index, mine] of model.readers.entries()) {
        while (mine.seen < model.events.length) model.read(index, maxBytes)
        assert.equal(mine.reader.done, ends)
      }
    })

    fc.assert(property, { numRuns: 800 })
  })
})

test('a reader that stays attached is never gone, however far the ring moves', () => {
  const log = logOf({ type: 'queued', position: 0 }, token('a'), token('b'))
  const reader = readerAt(log, 2)
  for (let i = 0; i < 5000; i++) log.append(event(log.lastSeq + 1, token('x')))

  const events = drain(reader)

  assert.equal(events.map((event) => (event.type === 'token' ? event.text : '?')).join(''), `b${'x'.repeat(5000)}`)
  assert.equal(events[0]?.type === 'token' && events[0].from, 3)
})

test('a position that the ring has overwritten is gone, and never a shorter stream', () => {
  const log = logOf(...Array.from({ length: 100 }, (_, i) => token(`${i},`)))

  assert.deepEqual(log.attach(40, NOTHING), { type: 'gone', first: 85 })
  assert.deepEqual(log.attach(83, NOTHING), { type: 'gone', first: 85 })
  assert.deepEqual(drain(readerAt(log, 85), 0)[0], event(86, token('85,')))
})

test('position 0 gives all of the text, also when the ring has moved on', () => {
  const log = logOf(...Array.from({ length: 100 }, () => token('ab')), COMPLETED)

  const [all, end] = drain(readerAt(log, 0))

  assert.deepEqual(all, { ...event(100, token('ab'.repeat(100), 100)), from: 1 })
  assert.deepEqual(end, event(101, COMPLETED))
})

test('events other than tokens are known as positions for ever, and so are the ones right before them', () => {
  const log = logOf(
    { type: 'queued', position: 0 },
    token('a'),
    token('b'),
    { type: 'progress', percent: 25 },
    token('c'),
    ...Array.from({ length: 100 }, () => token('x')),
  )

  const afterMark = drain(readerAt(log, 4))
  const beforeMark = drain(readerAt(log, 3))

  assert.equal(afterMark[0]?.type === 'token' && afterMark[0].text.startsWith('cx'), true)
  assert.deepEqual(beforeMark[0], event(4, { type: 'progress', percent: 25 }))
  assert.equal(log.attach(2, NOTHING).type, 'gone')
})

test('every 1,024th event is known as a position for ever, and bounds what is merged', () => {
  const log = logOf(...Array.from({ length: 5000 }, () => token('x')))

  const events = drain(readerAt(log, 0))

  assert.deepEqual(
    events.map(({ seq }) => seq),
    [1024, 2048, 3072, 4096, 5000],
  )
  assert.equal(readerAt(log, 2048).position, 2048)
  assert.equal(log.attach(2047, NOTHING).type, 'gone')
})

test('a position beyond the end is ahead', () => {
  const log = logOf(token('a'), token('b'))

  assert.deepEqual(log.attach(3, NOTHING), { type: 'ahead', last: 2 })
})

test('an event larger than the bound comes alone and whole', () => {
  const log = logOf(token('a'), token('b'.repeat(1000)), token('c'))

  const events = drain(readerAt(log, 0), 10)

  assert.deepEqual(
    events.map(({ seq }) => seq),
    [1, 2, 3],
  )
})

test('the merge bound counts bytes and not characters', () => {
  const log = logOf(token('é'), token('é'), token('é'), token('é'))

  const events = drain(readerAt(log, 0), 4)

  assert.deepEqual(
    events.map(({ seq }) => seq),
    [2, 4],
  )
})

test('readers side by side are handed the same object, so that it is encoded once', () => {
  const log = logOf({ type: 'queued', position: 0 })
  const readers = Array.from({ length: 3 }, () => readerAt(log, 0))

  const marks = readers.map((reader) => reader.next(100))
  log.append(event(2, token('a')))
  const singles = readers.map((reader) => reader.next(100))
  log.append(event(3, token('b')))
  log.append(event(4, token('c')))
  const stretches = readers.map((reader) => reader.next(100))

  for (const entries of [marks, singles, stretches]) assert.equal(new Set(entries).size, 1)
  assert.deepEqual(stretches[0]?.event, { ...event(4, token('bc', 2)), from: 3 })
})

test('a reader that was closed is told nothing more', () => {
  const log = logOf()
  let woken = 0
  const reader = readerAt(log, 0, () => woken++)
  log.append(event(1, token('a')))

  reader.close()
  log.append(event(2, token('b')))

  assert.equal(woken, 1)
  assert.equal(log.readers, 0)
})

test('a gap, a repeated event and an event after the end are refused', () => {
  const log = logOf(token('a'))

  assert.throws(() => log.append(event(3, token('b'))), /event 3 after 1/)
  assert.throws(() => log.append(event(1, token('a'))), /event 1 after 1/)
  log.append(event(2, COMPLETED))
  assert.throws(() => log.append(event(3, token('b'))), /after the terminal event/)
  assert.equal(log.lastSeq, 2)
})

test('a clock that was set back does not make a time of the far future', () => {
  const log = logOf({ type: 'queued', position: 0 })

  log.append({ ...event(2, token('a')), at: FIRST_AT - 60_000 })

  const [, second] = drain(readerAt(log, 0))
  assert.equal(second?.at, FIRST_AT + 1)
})

test('an ended log gives back the memory it had ahead', () => {
  const log = logOf(...Array.from({ length: 16 }, () => token('x'.repeat(100))))
  const before = log.bytes

  log.append(event(17, COMPLETED))

  assert.ok(log.bytes < before)
})

const likely = (text: string, first: number, tokens: number): EventBody => ({
  type: 'token',
  text,
  tokens,
  logprobs: Array.from({ length: tokens }, (_, i) => logprobOf(first + i, 1)),
})

test('a reader gets the logprobs of exactly the tokens after its position, merged in order', () => {
  const log = logOf({ type: 'queued', position: 0 }, likely('a', 0, 1), likely('', 1, 2), likely('bc', 3, 2), COMPLETED)

  const all = drain(readerAt(log, 0))
  const rest = drain(readerAt(log, 3))

  const names = (events: TaskEvent[]): unknown =>
    events.flatMap((event) => (event.type === 'token' ? event.logprobs?.map(({ token }) => token) : []))
  assert.deepEqual(names(all), ['t0', 't1', 't2', 't3', 't4'])
  assert.deepEqual(rest[0], { ...event(4, likely('bc', 3, 2)) })
})

test('an event of a task without logprobs has no such field', () => {
  const [entry] = drain(readerAt(logOf(token('a')), 0))

  assert.equal('logprobs' in (entry as TaskEvent), false)
})

test('an event of no tokens has no logprobs, and does not say that its task has some', () => {
  const log = logOf(likely('', 0, 0), token('a'))

  assert.deepEqual(drain(readerAt(log, 0), 0), [event(1, token('', 0)), event(2, token('a'))])
})

test('logprobs bound what is merged, since they are longer than the text', () => {
  const log = logOf(...Array.from({ length: 10 }, (_, i) => likely('x', i, 1)))

  const events = drain(readerAt(log, 0), 4 * jsonBytesOf(1))

  assert.deepEqual(
    events.map(({ seq }) => seq),
    [4, 8, 10],
  )
})

test('logprobs that are not one for each token are refused, and so are those that begin in the middle', () => {
  const log = logOf(likely('a', 0, 1))

  assert.throws(() => log.append(event(2, { ...likely('b', 1, 1), tokens: 2 } as EventBody)), /1 logprobs for 2 tokens/)
  assert.throws(() => log.append(event(2, token('b'))), /0 logprobs for 1 tokens/)
  assert.throws(() => logOf(token('a'), likely('b', 1, 1)), /0 for the 1 before/)
  log.append(event(2, likely('b', 1, 1)))
})

test('logprobs count as memory', () => {
  const [without, with20] = [logOf(token('a')), logOf({ ...token('a'), logprobs: [logprobOf(0, 20)] } as EventBody)]

  assert.equal(with20.bytes - without.bytes, 100 + 21 * 136)
})

test('a log that was dumped and restored is the same to every reader, and goes on', () => {
  const body: fc.Arbitrary<EventBody> = fc.oneof(
    { weight: 8, arbitrary: anyText().map((text) => token(text)) },
    fc.constant<EventBody>({ type: 'progress', percent: 25 }),
  )
  // What a reader at each position is told, down to the single event.
  const told = (log: TaskLog): unknown =>
    Array.from({ length: log.lastSeq + 1 }, (_, after) => {
      const attached = log.attach(after, NOTHING)
      return attached.type === 'reader' ? drain(attached.reader, 0) : attached
    })

  fc.assert(
    fc.property(fc.array(body, { maxLength: 60 }), fc.constantFrom(16, 32, 1024), (bodies, slots) => {
      const log = new TaskLog(TASK, slots)
      for (const body of bodies) log.append(event(log.lastSeq + 1, body))

      const restored = TaskLog.restore(TASK, slots, structuredClone(log.dump()))
      const [before, after] = [told(log), told(restored)]
      for (const each of [log, restored]) each.append(event(each.lastSeq + 1, token('more')))
      for (const each of [log, restored]) each.append(event(each.lastSeq + 1, COMPLETED))

      assert.deepEqual(after, before)
      assert.deepEqual(told(restored), told(log))
      assert.deepEqual([restored.text(), restored.ended], [log.text(), true])
      assert.throws(() => restored.append(event(restored.lastSeq + 1, token('x'))), /after the terminal event/)
    }),
  )
})

test('a log restored with another bound of its ring never claims an event that was overwritten', () => {
  const log = new TaskLog(TASK, 16)
  for (let seq = 1; seq <= 40; seq++) log.append(event(seq, token(`${seq} `)))

  const wider = TaskLog.restore(TASK, 1024, log.dump())
  const fresh = new TaskLog(TASK, 1024)
  for (let seq = 1; seq <= 40; seq++) fresh.append(event(seq, token(`${seq} `)))
  const narrower = TaskLog.restore(TASK, 16, fresh.dump())

  for (const restored of [wider, narrower]) {
    assert.deepEqual(restored.attach(23, NOTHING), { type: 'gone', first: 25 })
    assert.equal(drain(readerAt(restored, 25), 0)[0]?.seq, 26)
    assert.equal(restored.text(), log.text())
  }
})

test('logprobs are dumped and restored with their tokens', () => {
  const log = logOf(likely('a', 0, 1), likely('b', 1, 1))

  const restored = TaskLog.restore(TASK, SLOTS, structuredClone(log.dump()))

  assert.deepEqual(drain(readerAt(restored, 1)), [event(2, likely('b', 1, 1))])
})

test('what was added is not visible until it is shown, and readers are told then', () => {
  const log = logOf({ type: 'queued', position: 0 }, token('a'))
  let woken = 0
  const reader = readerAt(log, 2, () => woken++)

  log.addToken('b', 1, FIRST_AT + 3)
  log.addToken('c', 1, FIRST_AT + 4)
  log.add(event(5, COMPLETED))
  const hidden = [
    log.lastSeq,
    log.text(),
    log.tokens,
    log.ended,
    log.end,
    reader.next(100),
    woken,
    log.attach(3, NOTHING),
  ]
  log.show(3)
  const first = drain(reader)
  const between = [log.text(), log.ended, [...log.markEvents()].length]
  log.show(5)

  assert.deepEqual(hidden, [2, 'a', 1, false, null, null, 0, { type: 'ahead', last: 2 }])
  assert.deepEqual(first, [event(3, token('b'))])
  assert.deepEqual(between, ['ab', false, 1])
  assert.deepEqual(drain(reader), [event(4, token('c')), event(5, COMPLETED)])
  assert.deepEqual([log.text(), log.ended, reader.done, woken], ['abc', true, true, 2])
})

test('a ring does not overwrite what nobody has seen yet, however much that is', () => {
  const log = logOf({ type: 'queued', position: 0 })
  const reader = readerAt(log, 1)
  for (let seq = 2; seq <= 200; seq++) log.addToken(`${seq},`, 1, FIRST_AT + seq)

  log.show(200)

  assert.deepEqual(
    drain(reader, 0),
    Array.from({ length: 199 }, (_, index) => event(index + 2, token(`${index + 2},`))),
  )
})

test('a log is visited event by event, visible or not, as it was said', () => {
  const said = [{ type: 'queued', position: 0 } as const, token('a'), token('🦊é'), token('', 2)]
  const more: EventBody[] = [{ type: 'progress', percent: 25 }, token('z'), COMPLETED]
  const log = logOf(...said)
  for (const body of more) log.add(event(log.addedSeq + 1, body))

  const seen: EventBody[] = []
  const target = Buffer.alloc(100)
  log.visit(1, 7, {
    token: (_at, tokens, text, from, to) =>
      seen.push(token(target.toString('utf8', 7, text.copy(from, to, target, 7)), tokens)),
    event: ({ task, seq, at, ...body }) => seen.push(body),
  })

  assert.deepEqual(seen, [...said.slice(1), ...more])
  assert.deepEqual(
    [1, 3, 6, 7].map((seq) => log.eventAt(seq)),
    [event(1, said[0] as EventBody), event(3, token('🦊é')), event(6, token('z')), event(7, COMPLETED)],
  )
})
