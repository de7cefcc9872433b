/**
 * The promise of PROTOCOL section 2, as one suite over every way by which events reach a reader.
 *
 * Readers hang up after a few events, or their connection is cut after a few bytes, and they come back with what
 * they have seen. Choices are seeded: `SEED=N` replays a run.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { isTerminal, type TaskEvent } from '../../src/core/event.js'
import { ended, scripted, startGateway, submit, textOf } from './harness.js'
import { body, checkWhole, PATHS, type Path, Refused, request } from './paths.js'
import { CuttingProxy } from './proxy.js'
import { Random, SEED, sharpText } from './random.js'

type Answer = { tokens: number; rate: number; text: string; crash_at?: number }
type Reading = { events: TaskEvent[]; visits: number }

const MAX_VISITS = 5000

/** Reads to the terminal event over connections that are cut again and again. */
async function readWithCuts(t: TestContext, path: Path, url: string, task: string, seed: number): Promise<Reading> {
  const random = new Random(seed)
  const proxy = await CuttingProxy.start(t, url)
  const events: TaskEvent[] = []
  for (let visits = 1; visits <= MAX_VISITS; visits++) {
    proxy.bytes = random.next() < 0.5 ? random.between(1, 4000) : Number.POSITIVE_INFINITY
    const maxEvents = random.next() < 0.9 ? { maxEvents: random.between(1, 4) } : {}
    const after = events.at(-1)?.seq ?? 0
    events.push(...(await path.visit({ url: proxy.url, task, after, random, ...maxEvents })))
    const last = events.at(-1)
    if (last && isTerminal(last)) return { events, visits }
    // Now and then it stays away for a moment and falls behind.
    if (random.next() < 0.3) await pause(random.between(1, 20))
  }
  throw new Error(`no end after ${MAX_VISITS} connections, at ${events.at(-1)?.seq}`)
}

const answers = (random: Random): Answer[] => [
  { tokens: 400, rate: 0, text: sharpText(random, 800) },
  { tokens: 3000, rate: 0, text: sharpText(random, 20_000) },
  { tokens: 300, rate: 300, text: sharpText(random, 900) },
  { tokens: 1000, rate: 1500, text: sharpText(random, 1500) },
  { tokens: 40, rate: 60, text: sharpText(random, 40) },
  { tokens: 1, rate: 0, text: '\r\n😀\u2028' },
  { tokens: 0, rate: 0, text: '' },
]

/** A test whose failure says how to replay it. */
const seeded = (name: string, run: (t: TestContext) => Promise<void>): void => {
  test(name, async (t) => {
    try {
      await run(t)
    } catch (error) {
      throw new Error(`replay with SEED=${SEED}`, { cause: error })
    }
  })
}

/** Waits for all of them also when one fails, so that no other fails after the test. */
async function all(parts: Promise<unknown>[]): Promise<void> {
  for (const part of await Promise.allSettled(parts)) if (part.status === 'rejected') throw part.reason
}

const marks = (events: TaskEvent[]): TaskEvent[] => events.filter(({ type }) => type !== 'token')

const tokensOf = (events: TaskEvent[]): number =>
  events.reduce((sum, event) => sum + (event.type === 'token' ? event.tokens : 0), 0)

for (const path of PATHS) {
  describe(`delivery over ${path.name}`, { concurrency: 3 }, () => {
    seeded(`over ${path.name}, any reader with any number of cuts gets the same text and every seq once`, async (t) => {
      const { url } = await startGateway(t)
      const wanted = answers(new Random(SEED))
      let visits = 0

      const readings = wanted.flatMap((answer, index) => {
        const task = submit(url, scripted(answer))
        const whole = task.then(({ id }) => path.visit({ url, task: id, after: 0 }))
        const check = async (reader: string, events: TaskEvent[]): Promise<void> => {
          try {
            checkWhole(events, (await task).id)
            assert.equal(textOf(events), answer.text)
            assert.equal(tokensOf(events), answer.tokens)
            assert.deepEqual(marks(events), marks(await whole))
          } catch (error) {
            throw new Error(`task ${index}, ${reader}`, { cause: error })
          }
        }
        const readers = [0, 1, 2].map(async (reader) => {
          const seed = SEED * 1000 + index * 10 + reader
          const reading = await readWithCuts(t, path, url, (await task).id, seed)
          visits += reading.visits
          await check(`reader ${reader}`, reading.events)
        })
        return [whole.then((events) => check('the reader without cuts', events)), ...readers]
      })
      await all(readings)

      // 21 readers; without a cut each would need one connection.
      assert.ok(visits > 100, `${visits} connections`)
    })

    seeded(`over ${path.name}, a worker's death changes neither the text nor the order`, async (t) => {
      const { url } = await startGateway(t)
      const text = sharpText(new Random(SEED), 300)
      const task = await submit(url, scripted({ tokens: 200, rate: 800, text, crash_at: 80 }))

      const [whole, cut] = await Promise.all([
        path.visit({ url, task: task.id, after: 0 }),
        readWithCuts(t, path, url, task.id, SEED),
      ])

      for (const events of [whole, cut.events]) {
        checkWhole(events, task.id)
        assert.equal(textOf(events), text)
        assert.deepEqual(
          events.filter(({ type }) => type === 'retrying').map((event) => event.type === 'retrying' && event.attempt),
          [2],
        )
      }
    })

    seeded(`over ${path.name}, a reader that comes after the end gets the rest from any position`, async (t) => {
      const { url } = await startGateway(t)
      const text = sharpText(new Random(SEED), 60)
      const task = await submit(url, scripted({ tokens: 30, text }))
      const { last_seq: last } = await ended(url, task.id)
      const whole = await path.visit({ url, task: task.id, after: 0 })

      for (let after = 0; after < last; after++) {
        const events = await path.visit({ url, task: task.id, after })

        checkWhole(events, task.id, after)
        assert.ok(text.endsWith(textOf(events)))
      }

      assert.equal(textOf(whole), text)
    })

    seeded(`over ${path.name}, a reader that attaches late to a running task gets it from the start`, async (t) => {
      const { url } = await startGateway(t)
      const text = sharpText(new Random(SEED), 200)
      const task = await submit(url, scripted({ tokens: 100, rate: 200, text }))
      await path.visit({ url, task: task.id, after: 0, maxEvents: 30 })

      const events = await path.visit({ url, task: task.id, after: 0 })

      checkWhole(events, task.id)
      assert.equal(textOf(events), text)
      const first = events.find(({ type }) => type === 'token')
      assert.ok(first?.type === 'token' && first.tokens > 1, 'what it missed comes merged')
      assert.ok(events.length > 30, 'and the rest comes live')
    })

    seeded(`over ${path.name}, a position beyond the log's end is refused`, async (t) => {
      const { url } = await startGateway(t)
      const task = await submit(url, scripted({ tokens: 3 }))
      const { last_seq: last } = await ended(url, task.id)

      const status = path.name.startsWith('WebSocket') ? null : 409
      for (const after of [last + 1, 2 ** 53 - 1]) {
        await assert.rejects(path.visit({ url, task: task.id, after }), new Refused('position_ahead', status))
      }
    })

    seeded(
      `over ${path.name}, a position whose borders are forgotten is an error and never a shorter stream`,
      async (t) => {
        const { url } = await startGateway(t, { 'max-ring-events': 16 })
        // More than are recorded at once: those that are being recorded are never forgotten.
        const text = sharpText(new Random(SEED), 6000)
        const task = await submit(url, scripted({ tokens: 6000, text }))
        await ended(url, task.id)

        const status = path.name.startsWith('WebSocket') ? null : 410
        await assert.rejects(path.visit({ url, task: task.id, after: 10 }), new Refused('log_gone', status))
        const events = await path.visit({ url, task: task.id, after: 0 })

        checkWhole(events, task.id)
        assert.equal(textOf(events), text)
      },
    )
  })
}

seeded('a reader may change the path with every connection', async (t) => {
  const { url } = await startGateway(t)
  const random = new Random(SEED)
  const text = sharpText(random, 1500)
  const task = await submit(url, scripted({ tokens: 500, rate: 500, text }))
  const paths = PATHS as [Path, ...Path[]]
  const any: Path = { name: 'any', visit: (visit) => (visit.random ?? random).pick(paths).visit(visit) }

  let visits = 0

  const readings = [0, 1, 2, 3, 4].map(async (reader) => {
    const reading = await readWithCuts(t, any, url, task.id, SEED * 1000 + reader)
    visits += reading.visits
    checkWhole(reading.events, task.id)
    assert.equal(textOf(reading.events), text)
  })
  await all(readings)

  assert.ok(visits > 15, `${visits} connections`)
})

test('an SSE reader that comes back with the terminal position gets 204 and no body', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 3 }))
  const { last_seq: last } = await ended(url, task.id)
  const events = `${url}/v1/tasks/${task.id}/events`
  const accept = { accept: 'text/event-stream' }

  const answers = [
    await request(events, { ...accept, 'last-event-id': String(last) }),
    await request(`${events}?after=${last}`, accept),
    await request(`${events}?starting_after=${last}`, accept),
    // The header wins.
    await request(`${events}?after=0`, { ...accept, 'last-event-id': String(last) }),
  ]

  for (const answer of answers) {
    assert.equal(answer?.statusCode, 204)
    assert.equal(await body(answer), '')
  }
})

test('a page after the terminal event is empty and done, at once', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 3 }))
  const { last_seq: last } = await ended(url, task.id)

  const page = await fetch(`${url}/v1/tasks/${task.id}/events?after=${last}&wait=60`)

  assert.deepEqual(await page.json(), { task: task.id, events: [], next: last, done: true })
})

test('an unreadable position is refused, with the name of what is wrong', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 3 }))
  await ended(url, task.id)
  const events = `${url}/v1/tasks/${task.id}/events`

  for (const accept of ['text/event-stream', 'application/json']) {
    for (const wrong of ['-1', '1.5', 'x', '', '99999999999999999999']) {
      const response = await fetch(`${events}?after=${wrong}`, { headers: { accept } })
      const { error } = (await response.json()) as { error: { code: string; param: string } }

      assert.deepEqual([response.status, error.code, error.param], [400, 'invalid_position', 'after'], wrong)
      assert.equal(response.headers.get('x-should-retry'), 'false')
    }
  }
  const response = await fetch(events, { headers: { accept: 'text/event-stream', 'last-event-id': 'x' } })
  const { error } = (await response.json()) as { error: { code: string; param: string } }
  assert.deepEqual([response.status, error.code, error.param], [400, 'invalid_position', 'Last-Event-ID'])
})

test('a long poll waits for the next event and answers with it', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 2, rate: 5 }))
  const events = `${url}/v1/tasks/${task.id}/events`
  const first = (await (await fetch(`${events}?wait=10`)).json()) as { next: number; done: boolean }
  let { next, done } = first
  let polls = 0

  while (!done) {
    const page = (await (await fetch(`${events}?after=${next}&wait=10`)).json()) as typeof first & { events: [] }
    assert.ok(page.events.length > 0)
    ;({ next, done } = page)
    polls++
  }

  assert.ok(polls >= 1)
  assert.equal(next, (await ended(url, task.id)).last_seq)
})

test('a long poll whose time is up answers with an empty page at the same position', async (t) => {
  const { url } = await startGateway(t, { 'scripted-slots': 1 })
  await submit(url, scripted({ tokens: 2, rate: 0.01 }))
  const waiting = await submit(url, scripted({ tokens: 1 }))

  const response = await fetch(`${url}/v1/tasks/${waiting.id}/events?after=1&wait=0.05`)

  assert.equal(response.status, 200)
  assert.deepEqual(await response.json(), { task: waiting.id, events: [], next: 1, done: false })
})
