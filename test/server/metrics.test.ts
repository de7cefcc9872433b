import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scripted, startGateway, submit } from './harness.js'

/** The values of the samples whose name begins so. */
const values = (text: string, name: string): number[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith(name))
    .map((line) => Number(line.split(' ').at(-1)))

test('what operators watch is there, and of this gateway', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 20, rate: 1000 }))
  await (await fetch(`${url}/v1/tasks/${task.id}/events`, { headers: { accept: 'text/event-stream' } })).text()

  const response = await fetch(`${url}/metrics`)
  const text = await response.text()

  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const [p50 = 0, p90 = 0, p99 = 0] = values(text, 'rejoin_delivery_lateness_seconds{')
  assert.ok(0 < p50 && p50 <= p90 && p90 <= p99 && p99 < 10, text)
  // started, 20 tokens, 4 quarters, completed
  assert.deepEqual(values(text, 'rejoin_events_total'), [26])
  assert.deepEqual(values(text, 'rejoin_queue_depth'), [0])
  assert.deepEqual(values(text, 'rejoin_readers'), [0])
  assert.deepEqual(values(text, 'rejoin_slots_free'), values(text, 'rejoin_slots{'))
  assert.equal(values(text, 'nodejs_eventloop_lag_p99_seconds').length, 1)
  assert.ok((values(text, 'rejoin_deliveries_total')[0] as number) > 0)
})

test('the totals go on from one look to the next', async (t) => {
  const { url } = await startGateway(t)
  const look = async (): Promise<number[]> =>
    values(await (await fetch(`${url}/metrics`)).text(), 'rejoin_events_total')
  const first = await look()
  const task = await submit(url, scripted({ tokens: 3 }))
  await fetch(`${url}/v1/tasks/${task.id}?wait=30`)

  const second = await look()

  assert.deepEqual([first, second], [[0], [9]])
  assert.deepEqual(await look(), second)
})
