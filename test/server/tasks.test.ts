import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ended, post, scripted, sseEvents, startGateway, submit, type TaskObject } from './harness.js'
import { SocketClient } from './socket-client.js'

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

test('a stream that is refused for want of a reader makes no task', async (t) => {
  const { url } = await startGateway(t, { 'max-readers': 1 })
  const slow = scripted({ tokens: 2, rate: 0.01 })
  const first = await post(url, slow, { accept: 'text/event-stream' })

  const second = await post(url, slow, { accept: 'text/event-stream' })
  const list = (await (await fetch(`${url}/v1/tasks`)).json()) as { data: TaskObject[] }

  assert.deepEqual([first.status, second.status], [200, 429])
  assert.equal(((await second.json()) as { error: { code: string } }).error.code, 'too_many_readers')
  assert.equal(list.data.length, 1)
  await first.body?.cancel()
})

test('an answer of many megabytes comes whole', async (t) => {
  const { url } = await startGateway(t, { 'max-body-bytes': 33_554_432 })
  const text = Array.from({ length: 1_000_000 }, (_, number) => `${number} `).join('')
  const task = await submit(url, scripted({ tokens: 10, text }))

  const done = await ended(url, task.id)

  assert.equal(done.status, 'completed')
  assert.ok(done.output.text === text)
})

test('a WebSocket path that is asked without an upgrade says what it wants', async (t) => {
  const { url } = await startGateway(t)

  const response = await fetch(`${url}/v1/ws`)

  assert.equal(response.status, 426)
  assert.equal(response.headers.get('upgrade'), 'websocket')
})

test('a prompt that can never fit is a bad request with both numbers, over HTTP and on a WebSocket', async (t) => {
  const { url } = await startGateway(t, { model: ['default'] })
  const request = { messages: [{ role: 'user', content: 'Once upon a time. '.repeat(1000) }] }
  const client = await SocketClient.open(t, url)

  const response = await post(url, JSON.stringify(request))
  client.send({ type: 'submit', ref: 1, ...request })
  const frame = await client.next()

  const { error } = (await response.json()) as { error: Record<string, string> }
  assert.deepEqual([response.status, response.headers.get('x-should-retry')], [400, 'false'])
  assert.match(error.message ?? '', /^the prompt has (at least )?\d+ tokens, .* room for 512$/)
  assert.deepEqual(error, {
    message: error.message,
    type: 'invalid_request_error',
    code: 'prompt_too_long',
    param: 'messages',
  })
  assert.deepEqual(frame, { type: 'error', ref: 1, error })
})
