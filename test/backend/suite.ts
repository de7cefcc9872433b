/**
 * What every backend promises, as tests to run over each implementation.
 *
 * `make` gives a fresh one with these bounds, closed by the suite when the test ends.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { Backend, Enqueued, Found, Kept, Page, QueueView } from '../../src/backend/backend.js'
import type { EmbeddedOptions } from '../../src/backend/embedded/embedded.js'
import type { CanceledBy, EventBody, TaskEvent } from '../../src/core/event.js'
import { newTaskId, type TaskId } from '../../src/core/id.js'
import type { Task, TaskStatus } from '../../src/core/task.js'
import { TaskLog } from '../../src/log/task-log.js'
import { looseFlush } from '../flush.js'
import { aTask } from '../task.js'

export type Make = (bounds: EmbeddedOptions, t: TestContext) => Promise<Backend & QueueView>

export const WIDE: EmbeddedOptions = {
  maxQueue: 1000,
  maxQueueBytes: 1_000_000,
  maxIdempotencyKeys: 1000,
  maxRingEvents: 1024,
  retentionMs: 1e15,
  retentionBytes: 1e9,
}
const NEVER = new AbortController().signal
export const COMPLETED: EventBody = {
  type: 'completed',
  finish_reason: 'stop',
  usage: { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1 },
  timings: { queued_ms: 0, first_token_ms: null, total_ms: 1 },
}

const event = (id: TaskId, seq: number, body: EventBody): TaskEvent => ({ task: id, seq, at: seq, ...body })
const ids = (tasks: Task[]): TaskId[] => tasks.map(({ id }) => id)

export function backendSuite(name: string, make: Make): void {
  const open = async (t: TestContext, bounds: Partial<EmbeddedOptions> = {}): Promise<Backend & QueueView> => {
    const backend = await make({ ...WIDE, ...bounds }, t)
    t.after(() => backend.close())
    return backend
  }
  const enqueue = (backend: Backend, task: Task): Promise<Enqueued> =>
    backend.enqueue(task, event(task.id, 1, { type: 'queued', position: 0 }))
  /** A task that has ended with this text, and is archived. */
  const archived = async (backend: Backend, fields: Parameters<typeof aTask>[0] = {}, text = 'x'): Promise<Kept> => {
    const task = aTask(fields)
    const log = new TaskLog(task.id, 1024)
    log.append(event(task.id, 1, { type: 'queued', position: 0 }))
    log.append(event(task.id, 2, { type: 'token', text, tokens: 1 }))
    log.append({ ...event(task.id, 3, COMPLETED), at: Date.now() })
    await backend.archive({ task, log })
    return { task, log }
  }
  const kept = (found: Found): [TaskId, string] | string =>
    found.type === 'kept' ? [found.kept.task.id, found.kept.log.text()] : found.type
  const walk = async (backend: Backend, limit: number, status: TaskStatus | null = null): Promise<TaskId[]> => {
    const walked: TaskId[] = []
    for (let before: number | null = Number.POSITIVE_INFINITY; before !== null; ) {
      const page: Page = await backend.list('me', before, limit, status)
      assert.ok(page.kept.length <= limit)
      walked.push(...page.kept.map(({ task }) => task.id))
      before = page.next
    }
    return walked
  }
  /** Enqueued and taken, so that it runs. */
  const running = async (backend: Backend): Promise<TaskId> => {
    const task = aTask()
    await enqueue(backend, task)
    await backend.take('m', 1, NEVER)
    return task.id
  }
  const say = (backend: Backend, id: TaskId, attempt: number, seq: number, body: EventBody): Promise<TaskId[]> =>
    backend.append([looseFlush(attempt, [event(id, seq, body)])])

  describe(name, () => {
    test('gives tasks by priority, and equal ones in order of arrival', async (t) => {
      const backend = await open(t)
      const tasks = [5, 0, 9, 5, 9, 0].map((priority) => aTask({ priority }))
      for (const task of tasks) assert.deepEqual(await enqueue(backend, task), { type: 'queued' })

      const taken = await backend.take('m', 10, NEVER)

      assert.deepEqual(
        ids(taken),
        [2, 4, 0, 3, 1, 5].map((index) => tasks[index]?.id),
      )
      assert.deepEqual(taken[0], tasks[2])
    })

    test('gives no more than were asked for, and the rest later', async (t) => {
      const backend = await open(t)
      const tasks = [1, 2, 3].map(() => aTask())
      for (const task of tasks) await enqueue(backend, task)

      const first = await backend.take('m', 2, NEVER)
      const second = await backend.take('m', 2, NEVER)

      assert.deepEqual([ids(first), ids(second)], [ids(tasks.slice(0, 2)), ids(tasks.slice(2))])
      assert.equal(backend.depth, 0)
    })

    test('a taker waits for the next task of its model', async (t) => {
      const backend = await open(t)
      const other = aTask({ model: 'other' })
      const mine = aTask()

      const taking = backend.take('m', 5, NEVER)
      await enqueue(backend, other)
      await enqueue(backend, mine)

      assert.deepEqual(ids(await taking), [mine.id])
      assert.equal(backend.depth, 1)
      assert.deepEqual(ids(await backend.take('other', 5, NEVER)), [other.id])
    })

    test('takers are served in the order in which they came, each task to one of them', async (t) => {
      const backend = await open(t)
      const tasks = [1, 2, 3].map(() => aTask())

      const taking = tasks.map(() => backend.take('m', 1, NEVER))
      for (const task of tasks) await enqueue(backend, task)

      assert.deepEqual(
        (await Promise.all(taking)).map(ids),
        ids(tasks).map((id) => [id]),
      )
    })

    test('a taker that gives up gets nothing, and takes nothing from the others', async (t) => {
      const backend = await open(t)
      const task = aTask()
      const gaveUp = new AbortController()
      gaveUp.abort()
      const givesUp = new AbortController()

      const before = await backend.take('m', 1, gaveUp.signal)
      const waiting = backend.take('m', 1, givesUp.signal)
      const patient = backend.take('m', 1, NEVER)
      givesUp.abort()
      await enqueue(backend, task)

      assert.deepEqual([before, await waiting], [[], []])
      assert.deepEqual(ids(await patient), [task.id])
    })

    test('a taker that gives up after it was served changes nothing', async (t) => {
      const backend = await open(t)
      const givesUp = new AbortController()
      const [first, second] = [aTask(), aTask()]
      const taking = backend.take('m', 1, givesUp.signal)
      const patient = backend.take('m', 1, NEVER)
      await enqueue(backend, first)

      givesUp.abort()
      await enqueue(backend, second)

      assert.deepEqual([ids(await taking), ids(await patient)], [[first.id], [second.id]])
    })

    test('closing ends every wait', async (t) => {
      const backend = await open(t)
      const taking = [backend.take('m', 1, NEVER), backend.take('other', 1, NEVER)]

      await backend.close()

      assert.deepEqual(await Promise.all(taking), [[], []])
    })

    test('a full queue refuses, and a task that leaves makes room', async (t) => {
      const backend = await open(t, { maxQueue: 2 })
      const [first, second] = [aTask(), aTask({ model: 'other' })]
      await enqueue(backend, first)
      await enqueue(backend, second)

      const refused = await enqueue(backend, aTask())
      await backend.cancel(first.id, 'client')
      const afterCancel = await enqueue(backend, aTask())
      await backend.take('other', 1, NEVER)
      const afterTake = await enqueue(backend, aTask())

      assert.deepEqual(refused, { type: 'full', bound: 'queue', max: 2 })
      assert.deepEqual([afterCancel, afterTake], [{ type: 'queued' }, { type: 'queued' }])
      assert.equal(backend.depth, 2)
    })

    test('bytes that wait have a bound, too', async (t) => {
      const backend = await open(t, { maxQueueBytes: 100 })
      await enqueue(backend, aTask({ bytes: 60 }))

      const refused = await enqueue(backend, aTask({ bytes: 41 }))
      const fits = await enqueue(backend, aTask({ bytes: 40 }))
      await backend.take('m', 1, NEVER)
      const afterTake = await enqueue(backend, aTask({ bytes: 60 }))

      assert.deepEqual(refused, { type: 'full', bound: 'bytes', max: 100 })
      assert.deepEqual([fits, afterTake], [{ type: 'queued' }, { type: 'queued' }])
    })

    test('a refused task leaves nothing behind', async (t) => {
      const backend = await open(t, { maxQueue: 1 })
      await enqueue(backend, aTask())
      const refused = aTask({ idempotency: { key: 'k', bodyHash: 'h' } })
      await enqueue(backend, refused)
      await backend.take('m', 1, NEVER)

      const again = await enqueue(backend, { ...refused, id: newTaskId() })

      assert.deepEqual(again, { type: 'queued' })
      assert.equal(backend.position(refused.id), null)
      assert.equal(await backend.cancel(refused.id, 'client'), 'unknown')
    })

    test('an idempotency key names one task of its owner, waiting, running or ended', async (t) => {
      const backend = await open(t)
      const task = aTask({ idempotency: { key: 'k', bodyHash: 'h' } })
      const again = (fields: Partial<Task> = {}): Promise<Enqueued> =>
        enqueue(backend, { ...task, id: newTaskId(), ...fields })
      await enqueue(backend, task)

      const waiting = await again()
      await backend.take('m', 1, NEVER)
      const running = await again()
      await say(backend, task.id, 1, 2, COMPLETED)
      const ended = await again()
      const conflict = await again({ idempotency: { key: 'k', bodyHash: 'other' } })
      const otherKey = await again({ idempotency: { key: 'K', bodyHash: 'h' } })
      const otherOwner = await again({ owner: 'you' })

      assert.deepEqual([waiting, running, ended], Array(3).fill({ type: 'replay', id: task.id }))
      assert.deepEqual(conflict, { type: 'conflict' })
      assert.deepEqual([otherKey, otherOwner], [{ type: 'queued' }, { type: 'queued' }])
      assert.equal(backend.depth, 2)
    })

    test('a full table of keys refuses new keys and keeps the old ones', async (t) => {
      const backend = await open(t, { maxIdempotencyKeys: 2 })
      const keyed = (key: string): Task => aTask({ idempotency: { key, bodyHash: 'h' } })
      const first = keyed('a')
      await enqueue(backend, first)
      await enqueue(backend, keyed('b'))

      const refused = await enqueue(backend, keyed('c'))
      const replayed = await enqueue(backend, keyed('a'))
      const keyless = await enqueue(backend, aTask())

      assert.deepEqual(refused, { type: 'full', bound: 'keys', max: 2 })
      assert.deepEqual(replayed, { type: 'replay', id: first.id })
      assert.deepEqual(keyless, { type: 'queued' })
    })

    test('a key is found again when the queue is full', async (t) => {
      const backend = await open(t, { maxQueue: 1 })
      const task = aTask({ idempotency: { key: 'k', bodyHash: 'h' } })
      await enqueue(backend, task)

      assert.deepEqual(await enqueue(backend, { ...task, id: newTaskId() }), { type: 'replay', id: task.id })
    })

    test('a waiting task that is canceled is out of the queue and ours to end', async (t) => {
      const backend = await open(t)
      const heard: TaskId[] = []
      backend.onCancel((id) => heard.push(id))
      const [first, second] = [aTask(), aTask()]
      await enqueue(backend, first)
      await enqueue(backend, second)

      const canceling = await backend.cancel(first.id, 'client')
      const taken = await backend.take('m', 5, NEVER)
      const stale = await say(backend, first.id, 0, 2, { type: 'canceled', by: 'client' })

      assert.equal(canceling, 'taken')
      assert.deepEqual(ids(taken), [second.id])
      assert.deepEqual([stale, heard], [[], []])
    })

    test('the cancel of a running task reaches the listener, with who asked', async (t) => {
      const backend = await open(t)
      const heard: [TaskId, CanceledBy][] = []
      backend.onCancel((id, by) => heard.push([id, by]))
      const id = await running(backend)

      const canceling = await backend.cancel(id, 'deadline')

      assert.equal(canceling, 'sent')
      assert.deepEqual(heard, [[id, 'deadline']])
    })

    test('an unknown or ended task cannot be canceled', async (t) => {
      const backend = await open(t)
      const id = await running(backend)
      await say(backend, id, 1, 2, COMPLETED)

      assert.equal(await backend.cancel(id, 'client'), 'unknown')
      assert.equal(await backend.cancel(newTaskId(), 'client'), 'unknown')
    })

    test('words of a stale attempt are refused, those of the present one are not', async (t) => {
      const backend = await open(t)
      const id = await running(backend)
      const token: EventBody = { type: 'token', text: 'x', tokens: 1 }

      const first = await say(backend, id, 1, 2, token)
      const second = await say(backend, id, 2, 3, token)
      const late = await say(backend, id, 1, 4, token)
      const present = await say(backend, id, 2, 4, token)

      assert.deepEqual([first, second, late, present], [[], [], [id], []])
    })

    test('a terminal event ends the hold: whatever follows is refused', async (t) => {
      const backend = await open(t)
      const id = await running(backend)

      const end = await say(backend, id, 1, 2, COMPLETED)
      const after = await say(backend, id, 1, 3, { type: 'token', text: 'x', tokens: 1 })

      assert.deepEqual([end, after], [[], [id]])
    })

    test('an archived task is found with all that it said, and one that never was is unknown', async (t) => {
      const backend = await open(t)
      const [first, second] = [await archived(backend, {}, 'one'), await archived(backend, {}, 'two 🦊')]

      const found = await Promise.all([first, second].map(({ task }) => backend.find(task.id)))

      assert.deepEqual(found.map(kept), [
        [first.task.id, 'one'],
        [second.task.id, 'two 🦊'],
      ])
      const [again] = found
      assert.deepEqual(again?.type === 'kept' && again.kept.task, first.task)
      assert.deepEqual(await backend.find(newTaskId()), { type: 'unknown' })
    })

    test('a walk over the pages gives every archived task of its owner once, newest first', async (t) => {
      const backend = await open(t)
      const mine: TaskId[] = []
      for (let i = 0; i < 10; i++) {
        // Longer ones run longer: they end in another order than they came.
        const task = aTask({ bytes: i })
        mine.push(task.id)
        await archived(backend, { ...task, ...task.spec, text: '{}' }, 'x'.repeat(i * 1000))
        await archived(backend, { owner: 'you' })
      }

      for (const limit of [1, 3, 10, 100]) assert.deepEqual(await walk(backend, limit), [...mine].reverse())
      const { kept } = await backend.list('me', Number.POSITIVE_INFINITY, 100, null)
      assert.deepEqual(
        kept.map(({ log }) => log.text().length),
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((thousands) => thousands * 1000),
      )
      assert.deepEqual(await backend.list('nobody', Number.POSITIVE_INFINITY, 10, null), { kept: [], next: null })
    })

    test('a listing can be of one status', async (t) => {
      const backend = await open(t)
      const { task } = await archived(backend)

      assert.deepEqual(await walk(backend, 10, 'completed'), [task.id])
      assert.deepEqual(await walk(backend, 10, 'failed'), [])
    })

    test('an archived task that is too old is dropped, which its owner can be told', async (t) => {
      const backend = await open(t, { retentionMs: 1000 })
      const told: TaskId[] = []
      backend.onDropped((ids) => told.push(...ids))
      const { task } = await archived(backend, { owner: 'you' })

      await backend.sweep(Date.now() + 500)
      const before = await backend.find(task.id)
      await backend.sweep(Date.now() + 1001)

      assert.equal(before.type, 'kept')
      assert.deepEqual(await backend.find(task.id), { type: 'dropped', owner: 'you' })
      assert.deepEqual(told, [task.id])
      assert.deepEqual((await backend.list('you', Number.POSITIVE_INFINITY, 10, null)).kept, [])
    })

    test('archived tasks may hold so many bytes together, and those that ended first go first', async (t) => {
      const backend = await open(t, { retentionBytes: 35_000 })
      const told: TaskId[] = []
      backend.onDropped((ids) => told.push(...ids))

      const tasks: TaskId[] = []
      for (let i = 0; i < 5; i++) tasks.push((await archived(backend, {}, 'x'.repeat(10_000))).task.id)

      assert.deepEqual(told, tasks.slice(0, 2))
      assert.deepEqual(await walk(backend, 10), tasks.slice(2).reverse())
    })

    test('an archived task that is removed is dropped, and retention goes on past it', async (t) => {
      const backend = await open(t, { retentionBytes: 35_000 })
      const told: TaskId[] = []
      backend.onDropped((ids) => told.push(...ids))
      const tasks: TaskId[] = []
      const add = async (): Promise<unknown> => tasks.push((await archived(backend, {}, 'x'.repeat(10_000))).task.id)
      for (let i = 0; i < 3; i++) await add()

      await backend.remove(tasks[1] as TaskId)
      await backend.remove(tasks[1] as TaskId)
      await backend.remove(newTaskId())
      const removed = await backend.find(tasks[1] as TaskId)
      for (let i = 0; i < 3; i++) await add()

      assert.deepEqual(removed, { type: 'dropped', owner: 'me' })
      assert.deepEqual(
        told,
        [1, 0, 2].map((at) => tasks[at]),
      )
      assert.deepEqual(await walk(backend, 10), tasks.slice(3).reverse())
    })

    test('one append of many tasks refuses only those that are stale', async (t) => {
      const backend = await open(t)
      const [a, b, c] = [await running(backend), await running(backend), newTaskId()]
      await say(backend, b, 3, 2, { type: 'token', text: 'x', tokens: 1 })

      const stale = await backend.append(
        [a, b, c].map((id) => looseFlush(2, [event(id, 3, { type: 'progress', percent: 25 })])),
      )

      assert.deepEqual(stale, [b, c])
    })

    test('says before it is asked to take more why it would not', async (t) => {
      const backend = await open(t, { maxQueue: 3, maxQueueBytes: 100 })
      await enqueue(backend, aTask({ bytes: 60 }))

      assert.deepEqual(backend.full(2, 40), null)
      assert.deepEqual(backend.full(3, 0), { type: 'full', bound: 'queue', max: 3 })
      assert.deepEqual(backend.full(1, 41), { type: 'full', bound: 'bytes', max: 100 })
    })

    test('a position counts the tasks that go first', async (t) => {
      const backend = await open(t)
      const tasks = [5, 5, 9, 0].map((priority) => aTask({ priority }))
      for (const task of tasks) await enqueue(backend, task)

      const before = tasks.map(({ id }) => backend.position(id))
      const ahead = [0, 4, 5, 9].map((priority) => backend.ahead('m', priority))
      await backend.take('m', 1, NEVER)
      const after = tasks.map(({ id }) => backend.position(id))

      assert.deepEqual(before, [1, 2, 0, 3])
      assert.deepEqual(ahead, [4, 3, 3, 1])
      assert.deepEqual(after, [0, 1, null, 2])
      assert.deepEqual([backend.ahead('other', 0), backend.position(newTaskId())], [0, null])
    })

    test('a patient task is not kept waiting for ever by a stream of urgent ones', async (t) => {
      const backend = await open(t)
      const patient = [aTask({ priority: 0 }), aTask({ priority: 0 })]
      for (const task of patient) await enqueue(backend, task)
      const order: TaskId[] = []

      for (let i = 0; i < 40; i++) {
        await enqueue(backend, aTask({ priority: 9 }))
        await enqueue(backend, aTask({ priority: 9 }))
        order.push(...ids(await backend.take('m', 1, NEVER)))
      }

      assert.deepEqual(
        patient.map(({ id }) => order.indexOf(id)),
        [15, 31],
      )
    })

    test('of those that have waited, the 16th is the longest, whatever its priority', async (t) => {
      const backend = await open(t)
      const tasks = [3, 1, 2].map((priority) => aTask({ priority }))
      for (const task of tasks) await enqueue(backend, task)
      for (let i = 0; i < 60; i++) await enqueue(backend, aTask({ priority: 9 }))

      const order = ids(await backend.take('m', 50, NEVER))

      assert.deepEqual(
        tasks.map(({ id }) => order.indexOf(id)),
        [15, 31, 47],
      )
    })

    test('whatever is added, taken and canceled, order and positions are those of a sorted list and of age', async (t) => {
      const steps = fc.array(
        fc.oneof(
          fc.record({ type: fc.constant('add' as const), priority: fc.nat(9) }),
          fc.record({ type: fc.constant('take' as const), max: fc.integer({ min: 1, max: 4 }) }),
          fc.record({ type: fc.constant('cancel' as const), index: fc.nat(50) }),
        ),
        { maxLength: 120 },
      )
      const property = fc.asyncProperty(steps, async (steps) => {
        const backend = await make(WIDE, t)
        let sorted: Task[] = []
        const arrived: Task[] = []
        let taken = 0
        const next = (): Task => {
          const longest = arrived.find((task) => sorted.includes(task))
          const task = ++taken % 16 === 0 ? longest : sorted[0]
          sorted = sorted.filter((other) => other !== task)
          return task as Task
        }
        for (const step of steps) {
          if (step.type === 'add') {
            const task = aTask({ priority: step.priority })
            await enqueue(backend, task)
            arrived.push(task)
            // A stable sort keeps the order of arrival among equals.
            sorted = [...sorted, task].sort((a, b) => b.spec.priority - a.spec.priority)
          } else if (step.type === 'take' && sorted.length > 0) {
            const expected = Array.from({ length: Math.min(step.max, sorted.length) }, next)
            assert.deepEqual(ids(await backend.take('m', step.max, NEVER)), ids(expected))
          } else if (step.type === 'cancel' && sorted.length > 0) {
            const [task] = sorted.splice(step.index % sorted.length, 1)
            assert.equal(await backend.cancel((task as Task).id, 'client'), 'taken')
          }
          assert.equal(backend.depth, sorted.length)
          assert.deepEqual(
            sorted.map(({ id }) => backend.position(id)),
            sorted.map((_, index) => index),
          )
        }
        await backend.close()
      })

      await fc.assert(property, { numRuns: 100 })
    })
  })
}
