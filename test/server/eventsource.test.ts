/**
 * A stock `EventSource` behind a network that cuts: nothing of ours on the client's side.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { EventSource } from 'eventsource'
import type { TaskEvent } from '../../src/core/event.js'
import { scripted, startGateway, submit, textOf } from './harness.js'
import { checkWhole } from './paths.js'
import { CuttingProxy } from './proxy.js'
import { Random, SEED, sharpText } from './random.js'

const TYPES = ['queued', 'started', 'token', 'progress', 'retrying', 'completed', 'failed', 'canceled']

/** Everything that an EventSource is told until it stops coming back; its last error's code says why. */
function listen(t: TestContext, url: string): Promise<{ events: TaskEvent[]; code: number | undefined }> {
  const source = new EventSource(url)
  t.after(() => source.close())
  const events: TaskEvent[] = []
  for (const type of TYPES) {
    source.addEventListener(type, ({ data, lastEventId }) => {
      const event = JSON.parse(data) as TaskEvent
      assert.deepEqual([type, lastEventId], [event.type, String(event.seq)])
      events.push(event)
    })
  }
  return new Promise((resolve) => {
    source.addEventListener('error', ({ code }) => {
      if (source.readyState === EventSource.CLOSED) resolve({ events, code })
    })
  })
}

// At once: most of their time they wait to come back.
describe('a stock EventSource', { concurrency: true }, () => {
  test('an EventSource behind a network that cuts gets each event of a running task once, and stops', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await CuttingProxy.start(t, url)
    const text = sharpText(new Random(SEED), 150)
    const task = await submit(url, scripted({ tokens: 75, rate: 25, text }))
    // The answer's head and three events or so.
    proxy.bytes = 900

    const { events, code } = await listen(t, `${proxy.url}/v1/tasks/${task.id}/events`)

    checkWhole(events, task.id)
    assert.equal(textOf(events), text)
    assert.equal(events.at(-1)?.type, 'completed')
    assert.equal(code, 204)
    assert.ok(proxy.cuts >= 3, `${proxy.cuts} cuts`)
  })

  test('an EventSource whose first position is in the URL goes on from there', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await CuttingProxy.start(t, url)
    const text = 'a line\nand another\n'.repeat(20)
    const task = await submit(url, scripted({ tokens: 20, text }))
    proxy.bytes = 1600

    const { events, code } = await listen(t, `${proxy.url}/v1/tasks/${task.id}/events?after=1`)

    checkWhole(events, task.id, 1)
    assert.equal(textOf(events), text)
    assert.equal(code, 204)
    assert.ok(proxy.cuts >= 1, `${proxy.cuts} cuts`)
  })
})
