import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Gateway, Submitted } from '../../src/gateway/gateway.js'
import { until } from '../until.js'
import { ENDLESS, firstOf, isToken, listed, makeGateway, openGateway, script, submit, whole } from './harness.js'

const withKey = (gateway: Gateway, key: string, bodyHash = 'h', spec = script({ tokens: 2 })): Promise<Submitted> =>
  gateway.submit('me', spec, { bytes: 10, idempotency: { key, bodyHash } })

test('the same key and body give the same task, waiting, running and ended', async (t) => {
  const gateway = makeGateway(t)
  const first = await withKey(gateway, 'k')

  const waiting = await withKey(gateway, 'k')
  await gateway.open()
  await whole(gateway, first.record)
  const ended = await withKey(gateway, 'k')

  assert.deepEqual([first.replay, waiting.replay, ended.replay], [false, true, true])
  assert.ok(waiting.record === first.record && ended.record === first.record)
  assert.deepEqual(await listed(gateway), [first.record])
})

test('two requests at the same moment with one key make one task', async (t) => {
  const gateway = makeGateway(t)

  const [one, two] = await Promise.all([withKey(gateway, 'k'), withKey(gateway, 'k')])

  assert.equal(one?.record, two?.record)
  assert.deepEqual([one?.replay, two?.replay], [false, true])
})

test('another body with a used key is refused', async (t) => {
  const gateway = makeGateway(t)
  await withKey(gateway, 'k')

  await assert.rejects(withKey(gateway, 'k', 'other'), { code: 'idempotency_conflict' })
})

test('a key belongs to its owner', async (t) => {
  const gateway = makeGateway(t)
  const mine = await withKey(gateway, 'k')

  const yours = await gateway.submit('you', script({}), { bytes: 10, idempotency: { key: 'k', bodyHash: 'other' } })

  assert.equal(yours.replay, false)
  assert.notEqual(yours.record, mine.record)
})

test('a full table of keys refuses with `too_many_keys` and a wait', async (t) => {
  const gateway = makeGateway(t, { maxIdempotencyKeys: 1 })
  await withKey(gateway, 'a')

  await assert.rejects(withKey(gateway, 'b'), { code: 'too_many_keys', retryAfterS: 60 })
  assert.equal((await withKey(gateway, 'a')).replay, true)
})

test('the key of a task that retention dropped says that its log is gone, and runs nothing again', async (t) => {
  const gateway = await openGateway(t, { retentionBytes: 0 })
  const { record } = await withKey(gateway, 'k')
  await whole(gateway, record)
  await until('its end in the archive', async () => (await listed(gateway)).length === 0)

  await assert.rejects(withKey(gateway, 'k'), { code: 'log_gone' })
})

test('a replay waits for nothing, so `max_wait_ms` does not refuse it', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  await whole(gateway, await submit(gateway, script({ tokens: 21, rate: 100 })))
  const spec = script({ tokens: 2 }, { maxWaitMs: 0 })
  const first = await withKey(gateway, 'k', 'h', spec)
  await whole(gateway, first.record)
  const blocker = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, blocker, isToken)

  const again = await withKey(gateway, 'k', 'h', spec)

  assert.equal(again.record, first.record)
})
