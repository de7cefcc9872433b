import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Admission } from '../../src/gateway/admission.js'
import { ENDLESS, firstOf, isToken, listed, makeGateway, openGateway, script, submit, whole } from './harness.js'

test('before a task was measured the wait is known only where there is none', () => {
  const admission = new Admission()

  assert.equal(admission.waitMs(0, 4, 1), 0)
  assert.equal(admission.waitMs(0, 4, 0), null)
  assert.equal(admission.waitMs(5, 4, 4), null)
})

test('the wait is the mean service time by the turns that it takes', () => {
  const admission = new Admission()
  admission.observe(1000)

  assert.equal(admission.waitMs(0, 4, 0), 250)
  assert.equal(admission.waitMs(7, 4, 0), 2000)
  assert.equal(admission.waitMs(3, 4, 4), 0)
  assert.equal(admission.waitMs(0, 0, 0), null)
})

test('the mean follows the newest tasks', () => {
  const admission = new Admission()
  admission.observe(1000)
  admission.observe(2000)
  const afterTwo = admission.waitMs(0, 1, 0)
  for (let i = 0; i < 50; i++) admission.observe(100)

  assert.equal(afterTwo, 1200)
  assert.equal(admission.waitMs(0, 1, 0), 100)
})

test('who is turned away is told to come back in 1 to 60 whole seconds', () => {
  const admission = new Admission()
  const before = admission.retryAfterS(4)
  admission.observe(10_000)

  assert.equal(before, 1)
  assert.equal(admission.retryAfterS(4), 3)
  assert.equal(admission.retryAfterS(100), 1)
  assert.equal(admission.retryAfterS(0), 10)
  admission.observe(10_000_000)
  assert.equal(admission.retryAfterS(1), 60)
})

test('a task whose estimated wait is over its `max_wait_ms` is refused at once, and told when to come back', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  await whole(gateway, await submit(gateway, script({ tokens: 21, rate: 100 })))
  const blocker = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, blocker, isToken)

  await assert.rejects(submit(gateway, script({}, { maxWaitMs: 100 })), ({ code, retryAfterS }: never) => {
    assert.deepEqual([code, retryAfterS], ['queue_full', 1])
    return true
  })
  const patient = await submit(gateway, script({}, { maxWaitMs: 60_000 }))

  const { queuePosition, estimatedWaitMs } = gateway.extras(patient)
  assert.equal(queuePosition, 0)
  assert.ok(estimatedWaitMs !== null && estimatedWaitMs >= 190 && estimatedWaitMs < 20_000, `${estimatedWaitMs}`)
  assert.equal((await listed(gateway)).length, 3)
})

test('a task with `max_wait_ms` 0 runs when a slot is free', async (t) => {
  const gateway = await openGateway(t)

  const record = await submit(gateway, script({ tokens: 1 }, { maxWaitMs: 0 }))
  await whole(gateway, record)

  assert.equal(record.state.status, 'completed')
})

test('a full queue refuses with the bound and the time to come back, and what waits is not touched', async (t) => {
  const gateway = makeGateway(t, { maxQueue: 2 })
  const waiting = [await submit(gateway, script({ tokens: 1 })), await submit(gateway, script({ tokens: 1 }))]

  await assert.rejects(submit(gateway, script({})), {
    code: 'queue_full',
    message: '2 tasks wait, the bound',
    retryAfterS: 1,
  })

  assert.deepEqual(await listed(gateway), waiting.toReversed())
  await gateway.open()
  for (const record of waiting) assert.equal((await whole(gateway, record)).at(-1)?.type, 'completed')
})

test('the bytes of what waits are bounded, too', async (t) => {
  const gateway = makeGateway(t, { maxQueueBytes: 100 })
  await submit(gateway, script({}), { bytes: 90 })

  await assert.rejects(submit(gateway, script({}), { bytes: 11 }), {
    code: 'queue_full',
    message: 'the requests that wait hold 100 bytes, the bound',
  })
})

test('a model that is not served is refused by name', async (t) => {
  const gateway = makeGateway(t)

  await assert.rejects(submit(gateway, script({}, { model: 'gpt' })), {
    code: 'model_not_found',
    param: 'model',
    message: 'no model "gpt"; served: scripted',
  })
})

test('a task tells how many are ahead of it, by priority', async (t) => {
  const gateway = makeGateway(t)
  const records = []
  for (const priority of [5, 5, 9, 0]) records.push(await submit(gateway, script({ tokens: 1 }, { priority })))

  const positions = records.map((record) => gateway.extras(record).queuePosition)
  const said = await Promise.all(records.map((record) => firstOf(gateway, record, ({ type }) => type === 'queued')))

  assert.deepEqual(positions, [1, 2, 0, 3])
  // As it was when each of them came.
  assert.deepEqual(
    said.map((event) => event.type === 'queued' && event.position),
    [0, 1, 0, 3],
  )
})

test('each model has its own queue and its own slots', async (t) => {
  const models = ['a', 'b'].map((name) => ({ source: { type: 'scripted', name, slots: 1 } as const, workers: 1 }))
  const gateway = await openGateway(t, { models })
  const blocker = await submit(gateway, script(ENDLESS))
  const other = await submit(gateway, script({ tokens: 2 }, { model: 'b' }))

  const events = await whole(gateway, other)

  assert.deepEqual(gateway.models, ['a', 'b'])
  assert.equal(blocker.task.model, 'a')
  assert.equal(events.at(-1)?.type, 'completed')
})
