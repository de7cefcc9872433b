import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Engine, type EngineOptions } from '../../src/engine/engine.js'
import type { End, Handle } from '../../src/engine/messages.js'
import type { Generation } from '../../src/model/model.js'
import { onnxSource } from '../model/answer.js'
import { until } from '../until.js'

/** What an engine with real threads reported, in order. */
type Report =
  | { type: 'token'; handle: Handle; text: string; ids: number[] }
  | { type: 'end'; end: End }
  | { type: 'lost'; handles: Handle[]; reason: string }

type Watched = { engine: Engine; reports: Report[]; acknowledge: (recorded: Promise<void>) => void }

type Watching = Partial<EngineOptions> & { slots?: number }

function watch(t: TestContext, given: Watching = {}): Watched {
  const { workers = 1, slots = 4, maxInFlight = 1000, stallMs = 60_000, source } = given
  const reports: Report[] = []
  let recorded = Promise.resolve()
  const options: EngineOptions = {
    source: source ?? { type: 'scripted', name: 's', slots },
    workers,
    maxInFlight,
    stallMs,
  }
  const engine = new Engine(options, {
    flush({ cells, ends }) {
      for (let at = 0; at < cells.length; ) {
        const [handle, text, tokens] = cells.slice(at, at + 3) as [Handle, string, number]
        reports.push({ type: 'token', handle, text, ids: cells.slice(at + 3, at + 3 + tokens) as number[] })
        at += 3 + tokens
      }
      for (const end of ends) reports.push({ type: 'end', end })
      return recorded
    },
    lost: (handles, reason) => reports.push({ type: 'lost', handles, reason }),
    free: () => {},
    noted: () => {},
    unloadable: () => {},
  })
  t.after(() => engine.close())
  return {
    engine,
    reports,
    acknowledge: (promise) => {
      recorded = promise
    },
  }
}

const generation = (script: object, recorded: number[] = []): Generation => ({
  prompt: { type: 'text', text: JSON.stringify(script) },
  promptIds: null,
  topLogprobs: null,
  sampling: { seed: 1 },
  maxTokens: null,
  recorded,
})

const endOf = ({ reports }: Watched, handle: Handle): Promise<End> =>
  until(`end of ${handle}`, () => {
    for (const report of reports) if (report.type === 'end' && report.end.handle === handle) return report.end
    return null
  })

const lostOf = ({ reports }: Watched, times = 1): Promise<{ handles: Handle[]; reason: string }> =>
  until('a lost worker', () => reports.filter((report) => report.type === 'lost')[times - 1])

const idsOf = ({ reports }: Watched, handle: Handle): number[] =>
  reports.flatMap((report) => (report.type === 'token' && report.handle === handle ? report.ids : []))

const firstTokenOf = (watched: Watched, handle: Handle): Promise<boolean> =>
  until(`first token of ${handle}`, () => idsOf(watched, handle).length > 0)

test('an engine is ready with the slots of the threads that have the model', async (t) => {
  const { engine } = watch(t, { workers: 2, slots: 4 })

  const before = { ready: engine.ready, slots: engine.slots, free: engine.free }
  await engine.open()
  await until('both threads', () => engine.slots === 8)

  assert.deepEqual(before, { ready: false, slots: 0, free: 0 })
  assert.deepEqual([engine.ready, engine.free, engine.workers.length], [true, 8, 2])
})

test('generations are spread over the threads, and a slot is free again when one ends', async (t) => {
  const watched = watch(t, { workers: 2, slots: 1 })
  const { engine } = watched
  await engine.open()
  await until('both threads', () => engine.slots === 2)

  const [a, b] = [engine.start(generation({ tokens: 3 }), []), engine.start(generation({ rate: 10 }), [])]
  assert.throws(() => engine.start(generation({}), []), /no free slot for model s/)
  const end = await endOf(watched, a)

  assert.deepEqual(end, { handle: a, type: 'completed', finishReason: 'stop', cachedTokens: 0 })
  assert.deepEqual(idsOf(watched, a), [0, 1, 2])
  assert.equal(engine.free, 1)
  engine.cancel(b)
  assert.equal((await endOf(watched, b)).type, 'canceled')
})

test('a thread that dies has its words read first, then its generations are lost, once', async (t) => {
  const watched = watch(t)
  const { engine, reports } = watched
  await engine.open()

  const handles = [
    engine.start(generation({ tokens: 100, rate: 1000, crash_at: 9 }), []),
    engine.start(generation({ tokens: 1000, rate: 100 }), []),
    engine.start(generation({ tokens: 2 }), []),
  ]
  const { handles: lost } = await lostOf(watched)

  assert.deepEqual(lost, handles.slice(0, 2))
  assert.deepEqual(idsOf(watched, handles[0] as Handle), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal((await endOf(watched, handles[2] as Handle)).type, 'completed')
  assert.equal(reports.at(-1)?.type, 'lost')
})

test('a thread that is terminated from outside is replaced, and the next one takes work', async (t) => {
  const watched = watch(t)
  const { engine } = watched
  await engine.open()
  const handle = engine.start(generation({ tokens: 1000, rate: 100 }), [])
  await firstTokenOf(watched, handle)

  await engine.workers[0]?.terminate()
  const { handles } = await lostOf(watched)
  const between = engine.slots
  await until('a new thread', () => engine.ready)
  const next = engine.start(generation({ tokens: 5 }, [0, 1, 2]), [])
  await endOf(watched, next)

  assert.deepEqual([handles, between], [[handle], 0])
  assert.notEqual(next, handle)
  assert.deepEqual(idsOf(watched, next), [3, 4])
  assert.equal(engine.free, 4)
})

test('threads that die together are all replaced, again and again', async (t) => {
  const watched = watch(t, { workers: 2 })
  const { engine } = watched
  await engine.open()

  for (let round = 1; round <= 3; round++) {
    await until('both threads', () => engine.slots === 8)
    const handles = Array.from({ length: 8 }, () => engine.start(generation({ tokens: 1000, rate: 50 }), []))
    for (const handle of handles) await firstTokenOf(watched, handle)
    const lostBefore = watched.reports.length

    await Promise.all(engine.workers.map((worker) => worker.terminate()))
    await until('all lost', () => {
      const lost = watched.reports.slice(lostBefore).flatMap((report) => (report.type === 'lost' ? report.handles : []))
      return lost.length === 8 && assert.deepEqual(lost.sort(), handles.sort()) === undefined
    })
  }

  await until('both threads', () => engine.slots === 8)
  assert.equal(engine.free, 8)
})

test('an idle thread that dies is replaced without a report', async (t) => {
  const watched = watch(t)
  const { engine, reports } = watched
  await engine.open()

  await engine.workers[0]?.terminate()
  await until('the loss', () => engine.slots === 0)
  await until('a new thread', () => engine.slots === 4)

  assert.deepEqual(reports, [])
})

test('a thread whose words are not recorded waits for it', async (t) => {
  const watched = watch(t, { maxInFlight: 50 })
  const { engine, reports } = watched
  let recorded = (): void => {}
  await engine.open()
  watched.acknowledge(
    new Promise((resolve) => {
      recorded = resolve
    }),
  )

  const handle = engine.start(generation({ tokens: 1000 }), [])
  await until('the bound', () => reports.length >= 50)
  for (let turns = 0; turns < 100; turns++) await turn()
  const inFlight = reports.length
  watched.acknowledge(Promise.resolve())
  recorded()
  await endOf(watched, handle)

  assert.equal(inFlight, 50)
  assert.equal(idsOf(watched, handle).length, 1000)
})

test('close ends the threads in the middle of their work and reports nothing of it', async (t) => {
  const watched = watch(t, { workers: 2 })
  const { engine, reports } = watched
  await engine.open()
  const handle = engine.start(generation({ tokens: 1000, rate: 100 }), [])
  await firstTokenOf(watched, handle)

  await engine.close()

  assert.equal(engine.workers.length, 0)
  assert.ok(reports.every(({ type }) => type === 'token'))
})

test('an engine that is closed while its model loads closes', async (t) => {
  const { engine } = watch(t, { workers: 2 })

  void engine.open()
  await engine.close()

  assert.equal(engine.workers.length, 0)
})

test('an engine that is closed while a lost thread is replaced closes', async (t) => {
  const watched = watch(t)
  const { engine } = watched
  await engine.open()
  await engine.workers[0]?.terminate()
  await until('the loss', () => engine.slots === 0)

  await engine.close()

  assert.equal(engine.workers.length, 0)
})

test('the next turn of a chat goes to the thread that knows the chat', async (t) => {
  const watched = watch(t, { workers: 2, source: onnxSource() })
  const { engine } = watched
  await engine.open()
  await until('both threads', () => engine.slots === 8)
  const turn = (...contents: string[]): Generation => ({
    ...generation({}),
    prompt: { type: 'chat', messages: contents.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content })) },
    sampling: { seed: 1, temperature: 0 },
    maxTokens: 40,
  })
  const wish = 'Make it long and funny, please, with many animals and a good end for all of them.'
  const questions = [
    `Tell me a story about a fox who lost a kite. ${wish}`,
    `Tell me one about a dog and a ball. ${wish}`,
  ]
  const cachedOf = async (generations: Generation[]): Promise<number[]> => {
    // At the same time, so that each thread has one.
    const handles = generations.map((generation) => engine.start(generation, []))
    const ends = await Promise.all(handles.map((handle) => endOf(watched, handle)))
    return ends.map((end) => (end.type === 'completed' ? end.cachedTokens : -1))
  }

  const first = await cachedOf(questions.map((question) => turn(question)))
  const second = await cachedOf(questions.map((question) => turn(question, 'Once there was', 'And then?')).toReversed())

  assert.deepEqual(first, [0, 0])
  assert.ok(
    second.every((cached) => cached >= 16),
    `${second}`,
  )
})

test('an engine that was never opened closes', async (t) => {
  const { engine } = watch(t)

  await engine.close()

  assert.equal(engine.workers.length, 0)
})

test('a model that cannot be loaded is refused with its name and the reason', async (t) => {
  const listener = { flush: async () => {}, lost: () => {}, free: () => {}, noted: () => {}, unloadable: () => {} }
  const source = { ...onnxSource(), name: 'broken', dir: '/nonexistent' }
  const engine = new Engine({ source, workers: 2, maxInFlight: 10, stallMs: 60_000 }, listener)
  t.after(() => engine.close())

  await assert.rejects(engine.open(), /^Error: model broken: .*\/nonexistent/)
})

test('a paused generation frees its slot, and goes on from what it has said under another handle', async (t) => {
  const watched = watch(t, { slots: 1 })
  const { engine } = watched
  await engine.open()
  const first = engine.start(generation({ tokens: 50, rate: 500 }), [])
  await firstTokenOf(watched, first)

  engine.pause(first)
  const end = await endOf(watched, first)
  const { free } = engine
  const said = idsOf(watched, first)
  const second = engine.start(generation({ tokens: 50, rate: 500 }, said), [])
  await endOf(watched, second)

  assert.deepEqual([end, free], [{ handle: first, type: 'paused' }, 1])
  assert.deepEqual(
    [...said, ...idsOf(watched, second)],
    Array.from({ length: 50 }, (_, i) => i),
  )
})

test('a pause that comes after the end changes nothing', async (t) => {
  const watched = watch(t)
  const { engine, reports } = watched
  await engine.open()
  const handle = engine.start(generation({ tokens: 1 }), [])
  await endOf(watched, handle)

  engine.pause(handle)
  await endOf(watched, engine.start(generation({ tokens: 1 }), []))

  assert.equal(reports.filter((report) => report.type === 'end').length, 2)
})

test('a thread that hangs is given up, and another takes its place; when it wakes up it says nothing and ends', async (t) => {
  const watched = watch(t, { stallMs: 1000 })
  const { engine } = watched
  await engine.open()

  const hanging = engine.start(generation({ tokens: 20, hang_at: 3, hang_ms: 2500 }), [])
  const { handles, reason } = await lostOf(watched)
  const hung = engine.hung
  await until('the other thread', () => engine.slots > 0)
  const next = engine.start(generation({ tokens: 20 }, idsOf(watched, hanging)), [])
  await endOf(watched, next)
  await until('its end', () => engine.hung === 0)

  assert.deepEqual([handles, hung], [[hanging], 1])
  assert.equal(reason, 'the worker gave no sign of life for 1000 ms')
  assert.deepEqual(idsOf(watched, hanging), [0, 1, 2, 3])
  assert.deepEqual(
    idsOf(watched, next),
    Array.from({ length: 16 }, (_, index) => index + 4),
  )
})

test('a thread that is slow and gives signs of life is not given up', async (t) => {
  const watched = watch(t, { stallMs: 1000 })
  await watched.engine.open()

  const slow = watched.engine.start(generation({ tokens: 2, rate: 0.5 }), [])
  const end = await endOf(watched, slow)

  assert.equal(end.type, 'completed')
  assert.deepEqual(
    watched.reports.filter(({ type }) => type === 'lost'),
    [],
  )
})

test('an engine closes while one of its threads hangs', async (t) => {
  const watched = watch(t, { stallMs: 1000 })
  await watched.engine.open()
  watched.engine.start(generation({ tokens: 20, hang_at: 3, hang_ms: 600_000 }), [])
  await lostOf(watched)

  await watched.engine.close()

  assert.deepEqual(watched.engine.workers, [])
})

test('only so many threads may hang; beyond that none is started until one wakes up', async (t) => {
  // Nothing but what hangs at once is started here, so that no thread is given up for being slow.
  const watched = watch(t, { stallMs: 100 })
  const { engine } = watched
  await engine.open()

  for (let round = 1; round <= 5; round++) {
    await until(`thread ${round}`, () => engine.free > 0)
    engine.start(generation({ hang_at: 'always', hang_ms: 8000 }), [])
    await lostOf(watched, round)
  }
  const { hung, failure, slots } = engine
  await until('a thread in the place of one that woke up', () => engine.ready)

  assert.deepEqual([hung, slots], [5, 0])
  assert.equal(failure, '5 workers hang, and no more are started beside them')
  assert.equal(engine.failure, null)
})

test('a main thread that was held up itself gives up no thread', async (t) => {
  const watched = watch(t, { stallMs: 1000 })
  const { engine, reports } = watched
  await engine.open()
  const handle = engine.start(generation({ tokens: 200, rate: 50 }), [])
  await firstTokenOf(watched, handle)

  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000)
  await endOf(watched, handle)

  assert.deepEqual(
    reports.filter(({ type }) => type === 'lost'),
    [],
  )
})

test('a thread that has been silent for a while gets nothing more to do, until it says something', async (t) => {
  const watched = watch(t, { stallMs: 4000 })
  const { engine } = watched
  await engine.open()
  const handle = engine.start(generation({ tokens: 5, hang_at: 1, hang_ms: 3700 }), [])

  await until('its silence', () => engine.free === 0)
  const refused = (): Handle => engine.start(generation({}), [])
  assert.throws(refused, /no free slot for model s/)
  await endOf(watched, handle)

  assert.deepEqual([engine.free, engine.hung, idsOf(watched, handle)], [4, 0, [0, 1, 2, 3, 4]])
})
