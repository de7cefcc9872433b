/** `on_disconnect: "cancel"` and `{"cancel_after_ms": n}` over every protocol. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskEvent } from '../../src/core/event.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import type { Running } from '../../src/index.js'
import { authenticate } from '../../src/server/auth.js'
import { until } from '../until.js'
import { scripted, sseEvents, startGateway, submit, type TaskObject, textOf } from './harness.js'
import { type Frame, SocketClient } from './socket-client.js'

const ENDLESS = { tokens: 1_000_000, rate: 200 }

async function newest({ gateway }: Running): Promise<TaskRecord> {
  const { records } = await gateway.list(authenticate(), Number.POSITIVE_INFINITY, 1, null)
  return records[0] as TaskRecord
}

const lastEvent = async (url: string, id: string): Promise<TaskEvent | undefined> =>
  (await sseEvents(await fetch(`${url}/v1/tasks/${id}/events`, { headers: { accept: 'text/event-stream' } }))).at(-1)

const byClient = (event: TaskEvent | undefined): boolean => event?.type === 'canceled' && event.by === 'client'

/** Only looks: it is no reader. */
async function status(url: string, id: string): Promise<string> {
  return ((await (await fetch(`${url}/v1/tasks/${id}`)).json()) as TaskObject).status
}

async function page(
  url: string,
  id: string,
  after: number,
): Promise<{ events: TaskEvent[]; next: number; done: boolean }> {
  const response = await fetch(`${url}/v1/tasks/${id}/events?after=${after}&wait=30`)
  return (await response.json()) as { events: TaskEvent[]; next: number; done: boolean }
}

test('a stream that is cut ends its task', async (t) => {
  const running = await startGateway(t, { 'disconnect-grace-ms': 0 })
  const cut = new AbortController()
  await fetch(`${running.url}/v1/tasks`, {
    method: 'POST',
    body: scripted(ENDLESS, { on_disconnect: 'cancel' }),
    headers: { accept: 'text/event-stream' },
    signal: cut.signal,
  })
  const record = await newest(running)
  await until('some text', () => record.log.textBytes > 20)
  const before = record.canceledBy

  cut.abort()
  await until('its end', () => record.state.ended)

  assert.equal(before, null)
  assert.ok(byClient(await lastEvent(running.url, record.task.id)))
})

test('a stream that comes back in time gets the rest', async (t) => {
  const running = await startGateway(t, { 'disconnect-grace-ms': 60_000 })
  const { id } = await submit(running.url, scripted({ tokens: 60, rate: 200 }, { on_disconnect: 'cancel' }))
  const cut = new AbortController()
  const headers = { accept: 'text/event-stream' }
  await fetch(`${running.url}/v1/tasks/${id}/events`, { headers, signal: cut.signal })
  const { log } = await newest(running)
  await until('some text', () => log.textBytes > 20)

  cut.abort()
  await until('nobody reads', () => log.readers === 0)
  const rest = await sseEvents(await fetch(`${running.url}/v1/tasks/${id}/events`, { headers }))

  assert.equal(rest.at(-1)?.type, 'completed')
  assert.equal(textOf(rest), Array.from({ length: 60 }, (_, i) => `w${i} `).join(''))
})

for (const format of ['json', 'msgpack'] as const) {
  test(`over WebSocket (${format}), subscribing anew ends nothing, and leaving does`, async (t) => {
    const running = await startGateway(t, { 'disconnect-grace-ms': 0 })
    const client = await SocketClient.open(t, running.url, format)
    const isToken = ({ type }: Frame): boolean => type === 'token'
    client.send({ type: 'submit', ref: 1, ...(JSON.parse(scripted(ENDLESS, { on_disconnect: 'cancel' })) as object) })
    const { seq } = await client.next(isToken)
    const record = await newest(running)

    for (let i = 0; i < 5; i++) {
      client.send({ type: 'subscribe', ref: i, task: record.task.id, after: seq })
      await client.next(({ type, ref }) => type === 'subscribed' && ref === i)
      await client.next(isToken)
    }
    const before = record.canceledBy
    client.send({ type: 'unsubscribe', task: record.task.id })
    await until('its end', () => record.state.ended)

    assert.equal(before, null)
    assert.ok(byClient(await lastEvent(running.url, record.task.id)))
  })
}

test('a socket that is lost ends the tasks that only it followed', async (t) => {
  const running = await startGateway(t, { 'disconnect-grace-ms': 0 })
  const [one, other] = [await SocketClient.open(t, running.url), await SocketClient.open(t, running.url)]
  const request = JSON.parse(scripted(ENDLESS, { on_disconnect: 'cancel' })) as object
  const records: TaskRecord[] = []
  for (const ref of [1, 2]) {
    one.send({ type: 'submit', ref, ...request })
    await one.next((frame) => frame.type === 'accepted' && frame.ref === ref)
    records.push(await newest(running))
  }
  const [followed, left] = records as [TaskRecord, TaskRecord]
  other.send({ type: 'subscribe', task: followed.task.id, after: 0 })
  await other.next(({ type }) => type === 'subscribed')

  one.ws.terminate()
  await until('its end', () => left.state.ended)
  const { lastSeq } = followed.log
  await until('the other goes on', () => followed.log.lastSeq > lastSeq + 5)

  assert.equal(followed.canceledBy, null)
  assert.ok(byClient(await lastEvent(running.url, left.task.id)))
})

test('a client that polls has the grace from one poll to the next, and gets the whole answer', async (t) => {
  const { url } = await startGateway(t, { 'disconnect-grace-ms': 60_000 })
  const { id } = await submit(url, scripted({ tokens: 40, rate: 200 }, { on_disconnect: 'cancel' }))
  const seen: TaskEvent[] = []

  for (let after = 0, done = false; !done; ) {
    const { events, ...at } = await page(url, id, after)
    seen.push(...events)
    after = at.next
    done = at.done
  }

  assert.equal(seen.at(-1)?.type, 'completed')
  assert.equal(textOf(seen), Array.from({ length: 40 }, (_, i) => `w${i} `).join(''))
})

test('a client that polls and stops has left', async (t) => {
  const running = await startGateway(t, { 'disconnect-grace-ms': 0 })
  const { id } = await submit(running.url, scripted(ENDLESS, { on_disconnect: 'cancel' }))
  const record = await newest(running)

  await page(running.url, id, 0)
  await until('its end', () => record.state.ended)

  assert.ok(byClient(await lastEvent(running.url, id)))
})

test('a task that nobody reads for `cancel_after_ms` ends, and a look at it is no reading', async (t) => {
  const { url } = await startGateway(t)
  const { id } = await submit(url, scripted(ENDLESS, { on_disconnect: { cancel_after_ms: 1 } }))

  while ((await status(url, id)) === 'queued' || (await status(url, id)) === 'running');

  assert.ok(byClient(await lastEvent(url, id)))
})
