import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import type { EventBody, TaskEvent } from '../../src/core/event.js'
import type { TaskSpec } from '../../src/core/task.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { fruitlessIn } from '../../src/gateway/run.js'
import { TaskLog } from '../../src/log/task-log.js'
import { until } from '../until.js'
import { firstOf, isToken, makeGateway, openGateway, outline, script, submit, textOf, whole, words } from './harness.js'

const MANY = 30
const POISON = script({ crash_at: 'always' })
const LOST = 'no token in 3 attempts in a row, the bound; the worker of the last one died: worker exited with code: 1'

/**
 * It says its first words together, with the sixth token: until then they might be the beginning of its stop string.
 * @param rate tokens a second
 */
const late = (tokens: number, rate: number): TaskSpec => script({ tokens, rate }, { stop: [`${words(5)}and no more`] })

/** How many attempts in a row failed without a token, at most. */
function mostFruitless(events: TaskEvent[]): number {
  let [most, count] = [0, 0]
  for (const event of events) {
    if (event.type === 'token') count = 0
    else if (event.type === 'retrying') most = Math.max(most, ++count)
  }
  return most
}

const following = (gateway: Gateway, records: TaskRecord[]): Promise<TaskEvent[]>[] =>
  records.map((record) => whole(gateway, record))

for (const workers of [1, 2]) {
  test(`who kills its worker every time fails, and all that were running complete (${workers} workers)`, async (t) => {
    const gateway = await openGateway(t, { workers, slots: 64 })
    const records = await Promise.all(
      Array.from({ length: MANY }, () => submit(gateway, script({ tokens: 80, rate: 80 }))),
    )
    const reading = following(gateway, records)
    for (const record of records) await firstOf(gateway, record, isToken)

    const poison = await submit(gateway, POISON)
    const events = await whole(gateway, poison)

    assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, retrying 3, started 3, failed')
    assert.deepEqual(poison.state.error, { code: 'worker_lost', message: LOST })
    for (const events of await Promise.all(reading)) {
      assert.equal(textOf(events), words(80))
      assert.equal(events.at(-1)?.type, 'completed')
      assert.ok(mostFruitless(events) <= 1)
    }
  })

  test(`who kills its worker every time fails, and all that had said nothing complete (${workers} workers)`, async (t) => {
    const gateway = makeGateway(t, { workers, slots: 64 })
    const position = fc.sample(fc.nat(MANY), { numRuns: 1, seed: workers })[0]
    const specs = Array.from({ length: MANY }, () => late(30, 400))
    specs.splice(position ?? 0, 0, POISON)
    const records: TaskRecord[] = []
    for (const spec of specs) records.push(await submit(gateway, spec))
    const reading = following(gateway, records)

    await gateway.open()
    const all = await Promise.all(reading)

    for (const [i, events] of all.entries()) {
      if (specs[i] === POISON) {
        assert.deepEqual(records[i]?.state.error, { code: 'worker_lost', message: LOST })
        continue
      }
      assert.equal(textOf(events), words(30))
      assert.equal(events.at(-1)?.type, 'completed')
      assert.ok(mostFruitless(events) <= 1)
    }
  })
}

test('several that kill their worker are found out, each by itself', async (t) => {
  const gateway = makeGateway(t, { slots: 64 })
  const specs = Array.from({ length: 20 }, (_, i) => (i % 5 === 2 ? POISON : late(20, 400)))
  const records: TaskRecord[] = []
  for (const spec of specs) records.push(await submit(gateway, spec))
  const reading = following(gateway, records)

  await gateway.open()
  const all = await Promise.all(reading)

  for (const [i, events] of all.entries()) {
    if (specs[i] === POISON) assert.equal(records[i]?.state.error?.code, 'worker_lost')
    else assert.deepEqual([textOf(events), mostFruitless(events) <= 1], [words(20), true])
  }
})

test('while a suspect is silent nothing else starts, and that has an end', async (t) => {
  const gateway = await openGateway(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  // Its first six tokens take a quarter of an hour.
  const silent = await submit(gateway, late(100, 0.006))
  const killer = await submit(gateway, script({ tokens: 10, crash_at: 3 }))
  await firstOf(gateway, killer, ({ type }) => type === 'retrying')
  // The next thread.
  t.mock.timers.tick(50)
  await firstOf(gateway, silent, (event) => event.type === 'started' && event.attempt === 2)

  const fresh = await submit(gateway, script({ tokens: 5 }))
  for (let turns = 0; turns < 100; turns++) await turn()
  const held = [page(gateway, killer), page(gateway, fresh)].map(outline)
  t.mock.timers.tick(10_000)
  const events = [await whole(gateway, killer), await whole(gateway, fresh)]

  assert.deepEqual(held, ['queued, started 1, retrying 2', 'queued'])
  assert.deepEqual(events.map(outline), [
    'queued, started 1, retrying 2, started 2, completed',
    'queued, started 1, completed',
  ])
  assert.equal(silent.state.status, 'running')
})

test('a suspect that is canceled holds up nobody any more', async (t) => {
  const gateway = await openGateway(t)
  const silent = await submit(gateway, late(100, 0.006))
  await submit(gateway, script({ tokens: 10, crash_at: 3 }))
  await firstOf(gateway, silent, (event) => event.type === 'started' && event.attempt === 2)
  const fresh = await submit(gateway, script({ tokens: 5 }))

  await gateway.cancel(silent, 'client')

  assert.equal(outline(await whole(gateway, fresh)), 'queued, started 1, completed')
})

/** What a reader at 0 gets at once. */
function page(gateway: Gateway, record: TaskRecord): TaskEvent[] {
  const events: TaskEvent[] = []
  const reader = gateway.attach(record, 0, () => {})
  for (let entry = reader.next(0); entry; entry = reader.next(0)) events.push(entry.event)
  gateway.detach(reader)
  return events
}

test('a log tells how many attempts since its last token there were', () => {
  const token: EventBody = { type: 'token', text: 'a ', tokens: 1 }
  const started: EventBody = { type: 'started', attempt: 1, model: 'm' }
  const retrying: EventBody = { type: 'retrying', attempt: 2, reason: 'r' }
  const progress: EventBody = { type: 'progress', percent: 25 }
  const told = (...bodies: EventBody[]): number => {
    const log = new TaskLog('task_1', 4096)
    for (const [i, body] of bodies.entries()) log.append({ task: 'task_1', seq: i + 1, at: 1, ...body })
    return fruitlessIn(log)
  }
  const queued: EventBody = { type: 'queued', position: 0 }
  // A log notes a place every 1,024 events, that of a token here.
  const long = Array.from({ length: 1022 }, () => token)

  assert.equal(told(queued), 0)
  assert.equal(told(queued, started), 1)
  assert.equal(told(queued, started, retrying, started, retrying), 2)
  assert.equal(told(queued, started, token), 0)
  assert.equal(told(queued, started, token, progress), 0)
  assert.equal(told(queued, started, token, progress, retrying, started), 1)
  assert.equal(told(queued, started, retrying, started, token, retrying, started), 1)
  assert.equal(told(queued, started, ...long, retrying, started), 1)
  assert.equal(told(queued, started, ...long), 0)
})

test('what the log tells is what the gateway counts', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 10, fail_at: [3, 6] }))
  const fails = await submit(gateway, script({ fail_at: 'always' }))
  await whole(gateway, record)
  await whole(gateway, fails)

  await until('their ends', () => record.log.ended && fails.log.ended)

  assert.deepEqual([fruitlessIn(record.log), fruitlessIn(fails.log)], [0, 3])
})
