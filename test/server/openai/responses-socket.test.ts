import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { ResponsesClientEvent, ResponsesServerEvent } from 'openai/resources/responses/responses'
import { ResponsesWS } from 'openai/resources/responses/ws'
import WebSocket from 'ws'
import { authenticate } from '../../../src/server/auth.js'
import { until } from '../../until.js'
import { type Client, clientOf, ENDLESS, HELLO, startClient } from './client.js'

type Talk = Client & { socket: ResponsesWS; events: ResponsesServerEvent[]; errors: Error[] }

async function open(t: TestContext, config = {}): Promise<Talk> {
  const client = await startClient(t, config)
  const socket = new ResponsesWS(client.openai)
  t.after(() => socket.close())
  const events: ResponsesServerEvent[] = []
  const errors: Error[] = []
  socket.on('event', (event) => events.push(event))
  socket.on('error', (error) => errors.push(error))
  return { ...client, socket, events, errors }
}

const create = (script: object, more: object = {}): ResponsesClientEvent =>
  ({ type: 'response.create', model: 'scripted', input: JSON.stringify(script), ...more }) as ResponsesClientEvent

const ends = (events: ResponsesServerEvent[]) =>
  events.filter((event) => event.type === 'response.completed' || event.type === 'response.incomplete')

const textOf = (events: ResponsesServerEvent[]): string =>
  events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')

test('a response comes over the socket of the stock client as it does over HTTP', async (t) => {
  const { socket, events } = await open(t)

  socket.send(create(HELLO))
  await until('its end', () => ends(events).length === 1)

  assert.deepEqual([events[0]?.type, textOf(events)], ['response.created', HELLO.text])
  const [end] = ends(events)
  assert.ok(end?.type === 'response.completed' && end.response.status === 'completed')
})

test('requests of one socket are answered one after the other', async (t) => {
  const { socket, events } = await open(t)

  socket.send(create({ text: 'one', tokens: 3, rate: 100 }))
  socket.send(create({ text: 'two', tokens: 3 }))
  await until('both ends', () => ends(events).length === 2)

  assert.equal(textOf(events), 'onetwo')
  assert.ok(
    events.findIndex(({ type }) => type === 'response.completed') <
      events.map(({ type }) => type).lastIndexOf('response.created'),
  )
})

test('a response that is not stored can be gone on from where it was made, and nowhere else', async (t) => {
  const { socket, events, running, openai } = await open(t)

  socket.send(create(HELLO, { store: false }))
  await until('its end', () => ends(events).length === 1)
  const [first] = ends(events)
  assert.ok(first?.type === 'response.completed')
  socket.send(create({ text: 'two', tokens: 1 }, { store: false, previous_response_id: first.response.id }))
  await until('the end of the next', () => ends(events).length === 2)
  const other = new ResponsesWS(openai)
  t.after(() => other.close())
  other.send(create(HELLO, { previous_response_id: first.response.id }))
  const error = await new Promise<Error>((resolve) => other.once('error', resolve))
  const { records } = await running.gateway.list(authenticate(), Infinity, 10, null)

  assert.equal(records.length, 2)
  assert.equal(records[0]?.task.spec.prompt.type === 'chat' && records[0].task.spec.prompt.messages.length, 3)
  assert.match(error.message, /not found/)
})

test('a frame that is refused is answered with an error event that has its status, and the socket goes on', async (t) => {
  const { running } = await startClient(t)
  const socket = new WebSocket(`${running.url.replace('http', 'ws')}/v1/responses`)
  t.after(() => socket.terminate())
  const frames: { type: string; status?: number; error?: { code: string; param: string | null } }[] = []
  socket.on('message', (data) => frames.push(JSON.parse(String(data))))
  await once(socket, 'open')

  socket.send('{')
  socket.send(JSON.stringify({ type: 'response.inject' }))
  socket.send(JSON.stringify(create(HELLO, { tools: [{ type: 'web_search' }] })))
  socket.send(JSON.stringify(create(HELLO, { previous_response_id: 'resp_none' })))
  socket.send(JSON.stringify(create(HELLO)))
  await until('an answer', () => frames.some(({ type }) => type === 'response.completed'))

  assert.deepEqual(
    frames.slice(0, 4).map(({ type, status, error }) => [type, status, error?.code, error?.param]),
    [
      ['error', 400, 'invalid_json', null],
      ['error', 400, 'invalid_request', 'type'],
      ['error', 400, 'unsupported_field', 'tools'],
      ['error', 400, 'previous_response_not_found', 'previous_response_id'],
    ],
  )
})

test('a socket that goes away ends its response after the grace', async (t) => {
  const { socket, events, running } = await open(t, { 'openai-grace-ms': 0 })
  socket.send(create(ENDLESS))
  await until('some text', () => textOf(events) !== '')
  const { records } = await running.gateway.list(authenticate(), Infinity, 1, null)

  socket.close()
  await until('its end', () => records[0]?.state.ended)

  assert.equal(records[0]?.state.status, 'canceled')
})

test('a gateway that closes tells the socket to come back, with a code on which stock clients do', async (t) => {
  const { running } = await startClient(t)
  const socket = new ResponsesWS(clientOf(running))
  t.after(() => socket.close())
  await until('an open socket', () => socket.socket.readyState === WebSocket.OPEN)
  const closed = new Promise<number>((resolve) => socket.once('close', resolve))

  await running.close()

  assert.equal(await closed, 1012)
})

test('a plain request to the socket’s path says which methods there are', async (t) => {
  const { running } = await startClient(t)

  const response = await fetch(`${running.url}/v1/responses`)

  assert.deepEqual([response.status, response.headers.get('allow')], [405, 'POST'])
})
