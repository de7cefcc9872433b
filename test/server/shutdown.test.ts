import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { Config } from '../../src/config.js'
import type { TaskEvent } from '../../src/core/event.js'
import { until } from '../until.js'
import { openSocket, post, scripted, sseEvents, startGateway, submit } from './harness.js'

for (const { outcome, drainMs, rate } of [
  { outcome: 'canceled', drainMs: 50, rate: 20 },
  { outcome: 'completed', drainMs: 60_000, rate: 50 },
]) {
  test(`over WebSocket, the last event of a task that is ${outcome} in the drain comes before the close`, async (t) => {
    const { events, close } = await follow(t, { drainMs, rate, durability: 'none' })

    const code = await close()

    assert.equal(events.at(-1)?.type, outcome)
    assert.equal(code, 1012)
  })
}

test('a task that is handed over in the drain says nothing of it: its socket closes with 1012', async (t) => {
  const { events, close } = await follow(t, { drainMs: 50, rate: 20, durability: 'process' })

  const code = await close()

  assert.equal(events.at(-1)?.type, 'token')
  assert.equal(code, 1012)
})

test('a stream whose task is handed over in the drain is cut, so that its reader knows that it is not whole', async (t) => {
  const running = await startGateway(t, { 'drain-ms': 50 })
  const stream = await post(running.url, scripted({ tokens: 200, rate: 20 }), { accept: 'text/event-stream' })
  const reading = assert.rejects(sseEvents(stream), /terminated/)

  await running.close()

  await reading
})

test('a long poll and a request that waits are answered when the gateway closes', async (t) => {
  const running = await startGateway(t, { 'drain-ms': 50 })
  const { id } = await submit(running.url, scripted({ tokens: 1000, rate: 1 }))
  const started = await fetch(`${running.url}/v1/tasks/${id}/events?after=2&wait=60`)
  assert.equal(started.status, 200)
  const page = fetch(`${running.url}/v1/tasks/${id}/events?after=3&wait=60`)
  const task = fetch(`${running.url}/v1/tasks/${id}?wait=60`)
  await until('both', () => running.gateway.readers === 2)

  await running.close()

  const answers = await Promise.all([page, task])
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200],
  )
})

type Following = { events: TaskEvent[]; close: () => Promise<number> }

/** A task that has said some text to a WebSocket; `close` gives the code with which that was closed. */
async function follow(
  t: TestContext,
  given: { drainMs: number; rate: number; durability: Config['durability'] },
): Promise<Following> {
  const { drainMs, rate, durability } = given
  const running = await startGateway(t, { 'drain-ms': drainMs, durability })
  const socket = await openSocket(t, running.url)
  const events: TaskEvent[] = []
  socket.on('message', (data) => events.push(JSON.parse(data.toString()) as TaskEvent))
  const request = JSON.parse(scripted({ tokens: 20, rate })) as Record<string, unknown>
  socket.send(JSON.stringify({ type: 'submit', ref: 1, ...request }))
  while (!events.some(({ type }) => type === 'token')) await once(socket, 'message')
  const close = async (): Promise<number> => {
    const closed = once(socket, 'close')
    await running.close()
    return ((await closed) as [number])[0]
  }
  return { events, close }
}
