/** `on_disconnect: "pause"` over every protocol: decoding is for whoever reads, whichever way. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type WebSocket from 'ws'
import type { TaskEvent } from '../../src/core/event.js'
import type { Running } from '../../src/index.js'
import { authenticate } from '../../src/server/auth.js'
import { until } from '../until.js'
import {
  ended,
  openSocket,
  post,
  scripted,
  sseEvents,
  startGateway,
  submit,
  type TaskObject,
  textOf,
} from './harness.js'

const TEXT = Array.from({ length: 100 }, (_, i) => `w${i} `).join('')
const REQUEST = scripted({ tokens: 100, rate: 200 }, { on_disconnect: 'pause' })

const paused = ({ gateway }: Running): Promise<boolean> =>
  until('a paused task', () => gateway.dispatchers[0]?.paused.size === 1)

/** A gateway with a paused task of which nothing was decoded yet. */
async function withPaused(t: TestContext): Promise<{ running: Running; url: string; task: TaskObject }> {
  const running = await startGateway(t)
  const task = await submit(running.url, REQUEST)
  await paused(running)
  return { running, url: running.url, task }
}

const events = async (url: string, id: string, after: number): Promise<TaskEvent[]> =>
  sseEvents(
    await fetch(`${url}/v1/tasks/${id}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': String(after) },
    }),
  )

test('a stream that is cut pauses its task, and the next one gets exactly the rest', async (t) => {
  const running = await startGateway(t)
  const cut = new AbortController()
  const response = await fetch(`${running.url}/v1/tasks`, {
    method: 'POST',
    body: REQUEST,
    headers: { accept: 'text/event-stream' },
    signal: cut.signal,
  })
  const id = response.headers.get('location')?.split('/').at(-1) as string
  const { records } = await running.gateway.list(authenticate(), Number.POSITIVE_INFINITY, 1, null)
  const [record] = records
  assert.equal(record?.task.id, id)
  await until('some text', () => (record?.log.textBytes ?? 0) > 20)

  cut.abort()
  await paused(running)
  const first = (await (await fetch(`${running.url}/v1/tasks/${id}`)).json()) as TaskObject
  const rest = await events(running.url, id, first.last_seq)

  assert.equal(first.status, 'running')
  assert.equal(first.output.text + textOf(rest), TEXT)
  assert.deepEqual(
    rest.map(({ type }) => type).filter((type) => type === 'started' || type === 'completed'),
    ['completed'],
  )
})

test('a look at the task or at a page of its events starts nothing', async (t) => {
  const { url, task } = await withPaused(t)

  for (const path of ['', '/events']) await (await fetch(`${url}/v1/tasks/${task.id}${path}`)).text()
  await ended(url, (await submit(url, scripted({ tokens: 1 }))).id)
  const seen = (await (await fetch(`${url}/v1/tasks/${task.id}`)).json()) as TaskObject

  assert.deepEqual([seen.status, seen.queue_position, seen.last_seq], ['queued', 0, 1])
})

test('who waits for the end of a task reads it', async (t) => {
  const { url, task } = await withPaused(t)

  const done = await ended(url, task.id)

  assert.deepEqual([done.status, done.output.text], ['completed', TEXT])
})

test('a long poll reads, page by page', async (t) => {
  const { url, task } = await withPaused(t)
  const seen: TaskEvent[] = []

  for (let after = 0, done = false; !done; ) {
    const response = await fetch(`${url}/v1/tasks/${task.id}/events?after=${after}&wait=30`)
    const page = (await response.json()) as { events: TaskEvent[]; next: number; done: boolean }
    seen.push(...page.events)
    after = page.next
    done = page.done
  }

  assert.equal(textOf(seen), TEXT)
  assert.equal(seen.filter(({ type }) => type === 'started').length, 1)
})

test('a subscription reads, and one that ends, with its socket or by itself, does not', async (t) => {
  const { running, url, task } = await withPaused(t)
  const seen: TaskEvent[] = []
  const subscribe = async (): Promise<WebSocket> => {
    const socket = await openSocket(t, url)
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as TaskEvent
      if ('seq' in frame) seen.push(frame)
    })
    socket.send(JSON.stringify({ type: 'subscribe', task: task.id, after: seen.at(-1)?.seq ?? 0 }))
    return socket
  }

  const first = await subscribe()
  await until('a token', () => textOf(seen) !== '')
  first.send(JSON.stringify({ type: 'unsubscribe', task: task.id }))
  await paused(running)
  first.terminate()
  await once(first, 'close')
  const second = await subscribe()
  const { length } = seen
  await until('more', () => seen.length > length)
  second.terminate()
  await paused(running)
  await subscribe()
  await until('the end', () => seen.at(-1)?.type === 'completed')

  assert.equal(textOf(seen), TEXT)
})

test('a task that may pause and is streamed at once just runs', async (t) => {
  const { url } = await startGateway(t)

  const seen = await sseEvents(await post(url, REQUEST, { accept: 'text/event-stream' }))

  assert.equal(textOf(seen), TEXT)
})
