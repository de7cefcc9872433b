import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planConnection, planStop, planVisit } from '../../bench/chaos/accidents.js'
import { planTask, type ReaderPlan } from '../../bench/chaos/plan.js'
import type { Setup } from '../../bench/chaos/setup.js'

const setup = (seed: number): Setup => ({ seed, readers: 3, model: 'scripted', paceMs: 2000 })
const numbers = Array.from({ length: 500 }, (_, i) => i)

test('a seed makes the same decisions every time, and another seed others', () => {
  const decisions = (seed: number): string => {
    const task = planTask(setup(seed), 7)
    const reader = task.readers[0] as ReaderPlan
    return JSON.stringify([
      planVisit(setup(seed), reader, 2),
      planConnection(setup(seed), 'line', 3),
      planStop(setup(seed), 4),
      task,
    ])
  }

  assert.equal(decisions(1), decisions(1))
  assert.notEqual(decisions(1), decisions(2))
})

test('a run has everything that can happen to a task', () => {
  const tasks = numbers.map((number) => planTask(setup(1), number))
  const share = (what: (task: (typeof tasks)[number]) => boolean): number => tasks.filter(what).length / tasks.length
  const asks = (field: string): number => share(({ request }) => request[field] !== undefined)

  for (const submit of ['http', 'stream', 'socket']) assert.ok(share((task) => task.submit === submit) > 0.15, submit)
  assert.ok(share(({ cancelAfterMs }) => cancelAfterMs !== null) > 0.1)
  assert.ok(share(({ expected }) => expected.fails !== null) > 0.02)
  assert.ok(share(({ request }) => String(request.prompt).includes('crash_at')) > 0.02)
  for (const field of ['deadline_ms', 'priority', 'max_tokens', 'on_disconnect']) assert.ok(asks(field) > 0.03, field)
  const readers = tasks.flatMap((task) => task.readers)
  for (const protocol of ['sse', 'poll', 'json', 'msgpack']) {
    assert.ok(readers.filter((reader) => reader.protocol === protocol).length > readers.length / 6, protocol)
  }
  for (const type of ['now', 'late', 'second']) assert.ok(readers.some(({ start }) => start.type === type))
})

test('a task that may pause has one reader, and a submit whose answer says which task it is', () => {
  const pausing = numbers.map((number) => planTask(setup(1), number)).filter(({ request }) => request.on_disconnect)

  assert.ok(pausing.length > 0)
  for (const { readers, submit } of pausing) assert.deepEqual([readers.length, submit !== 'socket'], [1, true])
})

test('stops are kills, some of them before the gateway is ready, and a drain now and then', () => {
  const stops = numbers.map((number) => planStop(setup(1), number))
  const count = (what: (stop: (typeof stops)[number]) => boolean): number => stops.filter(what).length

  const drains = count(({ type }) => type === 'drain')
  assert.ok(drains > 70 && drains < 130, `${drains}`)
  assert.ok(count(({ soon }) => soon) > 60)
  assert.equal(
    count(({ type, soon }) => type === 'drain' && soon),
    0,
  )
  const late = stops.filter(({ soon }) => !soon).map(({ afterMs }) => afterMs)
  const mean = late.reduce((sum, ms) => sum + ms, 0) / late.length
  assert.ok(mean > 1700 && mean < 2300, `${mean}`)
})
