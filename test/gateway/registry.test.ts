import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TaskStatus } from '../../src/core/task.js'
import { TaskRecord } from '../../src/gateway/record.js'
import { numbered } from '../../src/gateway/recorder.js'
import { Registry } from '../../src/gateway/registry.js'
import { aTask } from '../task.js'

const HOUR_MS = 3_600_000
const FOR_EVER = { retentionMs: 1000 * HOUR_MS, retentionBytes: 1e12 }
const LATEST = Number.POSITIVE_INFINITY

let ordinal = 0
const added = (registry: Registry, owner = 'me'): TaskRecord => {
  const record = new TaskRecord(aTask({ owner }), ++ordinal, 16)
  registry.add(record)
  return record
}

/** Ends a task at this time. */
const end = (registry: Registry, record: TaskRecord, at: number): void => {
  const event = numbered(record, at, { type: 'canceled', by: 'client' })
  record.state.apply(event)
  record.log.append(event)
  registry.ended(record)
}

test('a task is found by its owner and by nobody else', () => {
  const registry = new Registry(FOR_EVER)
  const record = added(registry)

  assert.equal(registry.find('me', record.task.id), record)
  assert.throws(() => registry.find('you', record.task.id), { code: 'task_not_found' })
  assert.throws(() => registry.find('me', aTask().id), { code: 'task_not_found' })
})

test('an ended task is kept for its time and then dropped, and its owner is told so', () => {
  const registry = new Registry({ ...FOR_EVER, retentionMs: HOUR_MS })
  const now = Date.now()
  const [older, newer, running] = [added(registry), added(registry), added(registry)]
  end(registry, older, now - HOUR_MS / 2)
  end(registry, newer, now)

  registry.sweep(now + HOUR_MS / 2 - 1)
  const before = registry.list('me', LATEST, 10, null)
  registry.sweep(now + HOUR_MS / 2)
  const after = registry.list('me', LATEST, 10, null)
  registry.sweep(now + 10 * HOUR_MS)

  assert.deepEqual(
    [before, after],
    [
      [running, newer, older],
      [running, newer],
    ],
  )
  assert.deepEqual(registry.list('me', LATEST, 10, null), [running])
  assert.throws(() => registry.find('me', older.task.id), { code: 'log_gone' })
  assert.throws(() => registry.find('you', older.task.id), { code: 'task_not_found' })
})

test('a task says when retention will drop it, once it has ended', () => {
  const registry = new Registry({ ...FOR_EVER, retentionMs: HOUR_MS })
  const record = added(registry)
  const before = registry.expiresAt(record)

  const now = Date.now()
  end(registry, record, now)

  assert.deepEqual([before, registry.expiresAt(record)], [null, now + HOUR_MS])
})

test('ended tasks may hold so many bytes together, and those that ended first go first', () => {
  const one = added(new Registry(FOR_EVER))
  end(new Registry(FOR_EVER), one, Date.now())
  const registry = new Registry({ ...FOR_EVER, retentionBytes: one.bytes * 3 })
  const [a, b, c, d, e] = Array.from({ length: 5 }, () => added(registry)) as [TaskRecord, TaskRecord, ...TaskRecord[]]

  for (const record of [c, a, d, b]) end(registry, record as TaskRecord, Date.now())

  assert.deepEqual(registry.list('me', LATEST, 10, null), [e, d, b, a])
  assert.throws(() => registry.find('me', (c as TaskRecord).task.id), { code: 'log_gone' })
})

test('a task that has not ended is never dropped', () => {
  const registry = new Registry({ retentionMs: 1, retentionBytes: 0 })
  const record = added(registry)

  registry.sweep(Date.now() + 1000 * HOUR_MS)

  assert.equal(registry.find('me', record.task.id), record)
  assert.equal(registry.unfinished, 1)
})

test('whatever is added and dropped, a walk over the pages gives every task once, newest first', () => {
  const step = fc.record({
    owner: fc.constantFrom('me', 'you'),
    drop: fc.option(fc.nat(100), { freq: 2 }),
  })
  const property = fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 7 }), (steps, limit) => {
    const registry = new Registry({ retentionMs: HOUR_MS, retentionBytes: 1e12 })
    let kept: TaskRecord[] = []
    for (const { owner, drop } of steps) {
      kept.push(added(registry, owner))
      if (drop === null) continue
      const record = kept[drop % kept.length] as TaskRecord
      end(registry, record, Date.now() - 2 * HOUR_MS)
      kept = kept.filter((other) => other !== record)
    }

    for (const owner of ['me', 'you', 'nobody']) {
      const walked: TaskRecord[] = []
      for (let before = LATEST; ; ) {
        const page = registry.list(owner, before, limit, null)
        walked.push(...page)
        const last = page.at(-1)
        if (!last) break
        before = last.ordinal
      }
      assert.deepEqual(walked, kept.filter(({ task }) => task.owner === owner).reverse())
    }
  })

  fc.assert(property, { numRuns: 200 })
})

test('a listing can be of one status, and its pages are full all the same', () => {
  const registry = new Registry(FOR_EVER)
  const records = Array.from({ length: 10 }, () => added(registry))
  for (const record of records.slice(0, 6)) end(registry, record, Date.now())
  const list = (status: TaskStatus, limit: number, before = LATEST): (number | undefined)[] =>
    registry.list('me', before, limit, status).map((record) => records.indexOf(record))

  assert.deepEqual(list('queued', 10), [9, 8, 7, 6])
  assert.deepEqual(list('canceled', 4), [5, 4, 3, 2])
  assert.deepEqual(list('canceled', 4, records[2]?.ordinal), [1, 0])
  assert.deepEqual(list('running', 4), [])
})
