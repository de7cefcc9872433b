import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TaskStatus } from '../../src/core/task.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { Registry } from '../../src/gateway/registry.js'
import { aRecord } from '../task.js'

const LATEST = Number.POSITIVE_INFINITY
const ROOM = 1e9

const added = (registry: Registry, owner = 'me'): TaskRecord => {
  const record = aRecord({ owner })
  registry.add(record)
  return record
}

const end = (registry: Registry, record: TaskRecord): void => {
  record.show(record.add({ type: 'canceled', by: 'client' }, Date.now()).seq)
  registry.ended()
}

const archive = (registry: Registry, record: TaskRecord): void => {
  end(registry, record)
  registry.archived(record)
}

test('a task is here from its acceptance on, and counts until it ends', () => {
  const registry = new Registry(0)
  const record = added(registry)
  const before = [registry.get(record.task.id), registry.unfinished]

  end(registry, record)

  assert.deepEqual(before, [record, 1])
  assert.deepEqual([registry.get(record.task.id), registry.unfinished], [record, 0])
  assert.deepEqual(registry.unfinishedTasks(), [])
})

test('a task that was not accepted after all is not here and does not count', () => {
  const registry = new Registry(ROOM)
  const record = added(registry)

  registry.remove(record)

  assert.deepEqual([registry.get(record.task.id), registry.unfinished], [undefined, 0])
  assert.deepEqual(registry.list('me', LATEST, 10, null), [])
})

test('archived tasks stay at hand as far as there is room, those that were used last', () => {
  const one = aRecord()
  const registry = new Registry(one.bytes * 3 + 2000)
  const records = Array.from({ length: 3 }, () => added(registry))
  for (const record of records) archive(registry, record)
  const here = (): boolean[] => records.map(({ task }) => registry.get(task.id) !== undefined)
  assert.deepEqual(here(), [true, true, true])
  const [first, second, third] = records as [TaskRecord, TaskRecord, TaskRecord]
  for (const record of [second, first]) registry.get(record.task.id)

  const fourth = added(registry)
  archive(registry, fourth)

  assert.deepEqual(
    [first, second, third, fourth].map(({ task }) => registry.get(task.id) !== undefined),
    [true, true, false, true],
  )
})

test('a task that is dropped in the moment in which it is archived is not here any more', () => {
  const registry = new Registry(ROOM)
  const record = added(registry)
  end(registry, record)

  registry.forget(record.task.id)
  registry.archived(record)

  assert.equal(registry.get(record.task.id), undefined)
})

test('a task that is not archived stays, however little room there is, and an archived one that was dropped goes', () => {
  const registry = new Registry(ROOM)
  const [ended, archived] = [added(registry), added(registry)]
  end(registry, ended)
  archive(registry, archived)

  for (const { task } of [ended, archived]) registry.forget(task.id)

  assert.equal(registry.get(ended.task.id), ended)
  assert.equal(registry.get(archived.task.id), undefined)
})

test('whatever is added and archived, a walk over the pages gives every task once that is not, newest first', () => {
  const step = fc.record({
    owner: fc.constantFrom('me', 'you'),
    drop: fc.option(fc.nat(100), { freq: 2 }),
  })
  const property = fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 7 }), (steps, limit) => {
    const registry = new Registry(ROOM)
    let kept: TaskRecord[] = []
    for (const { owner, drop } of steps) {
      kept.push(added(registry, owner))
      if (drop === null) continue
      const record = kept[drop % kept.length] as TaskRecord
      archive(registry, record)
      kept = kept.filter((other) => other !== record)
    }

    for (const owner of ['me', 'you', 'nobody']) {
      const walked: TaskRecord[] = []
      for (let before = LATEST; ; ) {
        const page = registry.list(owner, before, limit, null)
        walked.push(...page)
        const last = page.at(-1)
        if (!last) break
        before = last.task.ordinal
      }
      assert.deepEqual(walked, kept.filter(({ task }) => task.owner === owner).reverse())
    }
  })

  fc.assert(property, { numRuns: 200 })
})

test('a listing can be of one status, and its pages are full all the same', () => {
  const registry = new Registry(ROOM)
  const records = Array.from({ length: 10 }, () => added(registry))
  for (const record of records.slice(0, 6)) end(registry, record)
  const list = (status: TaskStatus, limit: number, before = LATEST): (number | undefined)[] =>
    registry.list('me', before, limit, status).map((record) => records.indexOf(record))

  assert.deepEqual(list('queued', 10), [9, 8, 7, 6])
  assert.deepEqual(list('canceled', 4), [5, 4, 3, 2])
  assert.deepEqual(list('canceled', 4, records[2]?.task.ordinal), [1, 0])
  assert.deepEqual(list('running', 4), [])
})
