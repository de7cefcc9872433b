import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { TaskEvent } from '../../src/core/event.js'
import { start } from '../../src/index.js'
import { openSocket, scripted } from './harness.js'

for (const { outcome, drainMs, rate } of [
  { outcome: 'canceled', drainMs: 50, rate: 20 },
  { outcome: 'completed', drainMs: 60_000, rate: 50 },
]) {
  test(`over WebSocket, the last event of a task that is ${outcome} in the drain comes before the close`, async (t) => {
    const running = await start({ port: 0, model: ['scripted'], workers: 1, 'drain-ms': drainMs })
    await running.ready
    const socket = await openSocket(t, running.url)
    const events: TaskEvent[] = []
    socket.on('message', (data) => events.push(JSON.parse(data.toString()) as TaskEvent))
    const request = JSON.parse(scripted({ tokens: 20, rate })) as Record<string, unknown>
    socket.send(JSON.stringify({ type: 'submit', ref: 1, ...request }))
    while (!events.some(({ type }) => type === 'token')) await once(socket, 'message')

    const closed = once(socket, 'close')
    await running.close()
    const [code] = await closed

    assert.equal(events.at(-1)?.type, outcome)
    assert.equal(code, 1012)
  })
}
