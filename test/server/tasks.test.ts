import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ended, post, scripted, sseEvents, startGateway, submit } from './harness.js'

test('a task is accepted at once and ends with its whole text', async (t) => {
  const { url } = await startGateway(t)

  const task = await submit(url, scripted({ tokens: 3 }))
  const done = await ended(url, task.id)

  assert.match(task.id, /^task_[\w-]{21}$/)
  assert.equal(done.status, 'completed')
  assert.equal(done.output.text, 'w0 w1 w2 ')
  assert.equal(done.usage?.completion_tokens, 3)
})

test('a POST that accepts events gets the stream at once, from the first event', async (t) => {
  const { url } = await startGateway(t)

  const response = await post(url, scripted({ tokens: 4 }), { accept: 'text/event-stream' })
  const events = await sseEvents(response)

  assert.equal(response.status, 200)
  assert.equal(response.headers.get('location'), `/v1/tasks/${events[0]?.task}`)
  assert.equal(events[0]?.type, 'queued')
  assert.equal(events.at(-1)?.type, 'completed')
})
