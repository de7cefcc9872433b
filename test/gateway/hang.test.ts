import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Gateway } from '../../src/gateway/gateway.js'
import { until } from '../until.js'
import { firstOf, isToken, openGateway, outline, script, submit, textOf, whole, words } from './harness.js'

const STALL_MS = 1000
const SILENCE = `the worker gave no sign of life for ${STALL_MS} ms`

const hungIn = (gateway: Gateway): number => gateway.dispatchers[0]?.engine.hung ?? 0

test('an answer whose worker hangs goes on in another, and so do all beside it', async (t) => {
  const gateway = await openGateway(t, { stallMs: STALL_MS })
  const neighbours = await Promise.all(
    Array.from({ length: 10 }, () => submit(gateway, script({ tokens: 50, rate: 100 }))),
  )
  const reading = neighbours.map((record) => whole(gateway, record))
  for (const record of neighbours) await firstOf(gateway, record, isToken)

  // It wakes up before the test ends, and what it then says must not be heard.
  const record = await submit(gateway, script({ tokens: 20, hang_at: 3, hang_ms: 2500 }))
  const events = await whole(gateway, record)
  const all = await Promise.all(reading)
  await until('the end of the thread that hung', () => hungIn(gateway) === 0)

  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  assert.deepEqual(
    events.flatMap((event) => (event.type === 'retrying' ? [event.reason] : [])),
    [SILENCE],
  )
  assert.equal(textOf(events), words(20))
  assert.equal(record.state.usage?.completion_tokens, 20)
  for (const events of all) {
    assert.equal(textOf(events), words(50))
    assert.equal(events.at(-1)?.type, 'completed')
  }
})

test('a task that hangs its worker every time fails with `worker_lost`, and others run', async (t) => {
  const gateway = await openGateway(t, { stallMs: STALL_MS, maxAttempts: 2 })

  const record = await submit(gateway, script({ hang_at: 'always' }))
  const events = await whole(gateway, record)
  const other = await whole(gateway, await submit(gateway, script({ tokens: 3 })))

  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, failed')
  assert.deepEqual(record.state.error, {
    code: 'worker_lost',
    message: `no token in 2 attempts in a row, the bound; the worker of the last one died: ${SILENCE}`,
  })
  assert.equal(textOf(other), words(3))
})

test('a cancel of a task whose worker hangs acts when that is given up', async (t) => {
  const gateway = await openGateway(t, { stallMs: STALL_MS })
  const record = await submit(gateway, script({ tokens: 20, hang_at: 3 }))
  // Before that, the cancel might come between two steps.
  await until('its silence', () => gateway.dispatchers[0]?.engine.free === 0)

  await gateway.cancel(record, 'client')

  assert.equal(outline(await whole(gateway, record)), 'queued, started 1, canceled')
})
