import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Response, ResponseStreamEvent } from 'openai/resources/responses/responses'
import type { Config, Running } from '../../../src/index.js'
import { start } from '../../../src/index.js'
import { authenticate } from '../../../src/server/auth.js'
import { until } from '../../until.js'
import type { TaskObject } from '../harness.js'
import { clientOf, ENDLESS, HELLO, refusal, startClient } from './client.js'

const input = JSON.stringify(HELLO)

async function all(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = []
  for await (const event of stream) events.push(event)
  return events
}

const deltas = (events: ResponseStreamEvent[]): string =>
  events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')

const types = (events: ResponseStreamEvent[]): string[] =>
  events.map(({ type }) => type).filter((type, at, list) => type !== list[at - 1])

/** The names of all fields that the strict schema of Open Responses wants (OPENAI.md, B1.5 and B1.9). */
const FIELDS =
  'background completed_at created_at error frequency_penalty id incomplete_details instructions max_output_tokens ' +
  'max_tool_calls metadata model object output parallel_tool_calls presence_penalty previous_response_id ' +
  'prompt_cache_key reasoning safety_identifier service_tier status store temperature text tool_choice tools ' +
  'top_logprobs top_p truncation usage'

test('a response is whole, with every field that the strict schema wants, and is a task', async (t) => {
  const { openai, running } = await startClient(t)

  const { data, response } = await openai.responses
    .create({ model: 'scripted', input, instructions: 'Be kind.', metadata: { a: 'b' }, user: 'u1', temperature: 0.5 })
    .withResponse()
  const id = response.headers.get('x-task-id')
  const task = (await (await fetch(`${running.url}/v1/tasks/${id}`)).json()) as TaskObject

  const { output_text, ...fields } = data as Response & { user: string }
  assert.deepEqual(Object.keys(fields).sort().join(' '), `${FIELDS} user`)
  assert.deepEqual(
    [fields.id, fields.status, fields.instructions, fields.metadata, fields.user, fields.temperature],
    [`resp_${id?.slice(5)}`, 'completed', 'Be kind.', { a: 'b' }, 'u1', 0.5],
  )
  assert.deepEqual(fields.output, [
    {
      id: `msg_${id?.slice(5)}`,
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: HELLO.text, annotations: [], logprobs: [] }],
    },
  ])
  assert.equal(output_text, HELLO.text)
  assert.equal(fields.usage?.output_tokens, 6)
  assert.equal(task.output.text, HELLO.text)
})

test('a stream has the events of a text answer in their order, numbered upwards from 0', async (t) => {
  const { openai } = await startClient(t)

  const events = await all(await openai.responses.create({ model: 'scripted', input, stream: true }))

  assert.deepEqual(types(events), [
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
  assert.equal(deltas(events), HELLO.text)
  const numbers = events.map(({ sequence_number }) => sequence_number)
  assert.equal(numbers[0], 0)
  assert.ok(numbers.every((number, at) => at === 0 || number > (numbers[at - 1] as number)))
  const last = events.at(-1)
  assert.ok(last?.type === 'response.completed' && last.response.usage?.output_tokens === 6)
})

test('the wire has no id, an event for each type, and [DONE] at its end', async (t) => {
  const { running } = await startClient(t)

  const response = await fetch(`${running.url}/v1/responses`, {
    method: 'POST',
    body: JSON.stringify({ model: 'scripted', input, stream: true }),
  })
  const blocks = (await response.text()).split('\n\n').filter((block) => block !== '' && !block.startsWith(':'))

  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  assert.equal(blocks.pop(), 'data: [DONE]')
  for (const block of blocks) {
    const [event, data, ...rest] = block.split('\n')
    assert.deepEqual(rest, [])
    const { type } = JSON.parse((data ?? '').slice('data: '.length)) as { type: string }
    assert.equal(event, `event: ${type}`)
  }
})

test('the stream helper of the client gets the whole response', async (t) => {
  const { openai } = await startClient(t)

  const final = await openai.responses.stream({ model: 'scripted', input }).finalResponse()

  assert.deepEqual([final.status, final.output_text], ['completed', HELLO.text])
})

test('max_output_tokens makes a response incomplete, and says why', async (t) => {
  const { openai } = await startClient(t)
  const request = { model: 'scripted', input: JSON.stringify(ENDLESS), max_output_tokens: 3 }

  const whole = await openai.responses.create(request)
  const events = await all(await openai.responses.create({ ...request, stream: true }))

  assert.deepEqual([whole.status, whole.incomplete_details], ['incomplete', { reason: 'max_output_tokens' }])
  assert.equal(events.at(-1)?.type, 'response.incomplete')
})

test('a response that fails says so as a response, whole and as a stream', async (t) => {
  const { openai } = await startClient(t, { 'max-attempts': 1 })
  const request = { model: 'scripted', input: JSON.stringify({ tokens: 5, fail_at: 'always' }) }

  const whole = await openai.responses.create(request)
  const last = (await all(await openai.responses.create({ ...request, stream: true }))).at(-1)

  assert.deepEqual([whole.status, whole.error?.code], ['failed', 'server_error'])
  assert.ok(last?.type === 'response.failed' && last.response.error?.message === whole.error?.message)
})

test('a background response is there at once, is polled, and runs on without a reader', async (t) => {
  const { openai } = await startClient(t, { 'openai-grace-ms': 0 })

  const created = await openai.responses.create({ model: 'scripted', input, background: true })
  const ended = await until('its end', async () => {
    const response = await openai.responses.retrieve(created.id)
    return response.status === 'completed' && response
  })

  assert.ok(created.status === 'queued' || created.status === 'in_progress')
  assert.deepEqual([created.background, created.output_text], [true, ''])
  assert.deepEqual([ended.background, ended.output_text], [true, HELLO.text])
})

test('a background stream tells that it is queued, and can be left and taken up after any number', async (t) => {
  const { openai } = await startClient(t)
  const request = { model: 'scripted', input: JSON.stringify({ tokens: 40, rate: 400, stamp: true }), background: true }

  const first = await openai.responses.create({ ...request, stream: true })
  const seen: ResponseStreamEvent[] = []
  for await (const event of first) {
    seen.push(event)
    if (seen.length === 12) break
  }
  const [created] = seen
  assert.ok(created?.type === 'response.created')
  const { id } = created.response
  const after = seen.at(-1)?.sequence_number ?? -1
  const rest = await all(await openai.responses.retrieve(id, { stream: true, starting_after: after }))
  const whole = await all(await openai.responses.retrieve(id, { stream: true }))

  assert.deepEqual(types(whole).slice(0, 3), ['response.created', 'response.queued', 'response.in_progress'])
  assert.equal(deltas(seen) + deltas(rest), deltas(whole))
  assert.ok(rest.every(({ sequence_number }) => sequence_number > after))
  const final = whole.at(-1)
  assert.ok(final?.type === 'response.completed' && final.response.output_text === undefined)
  assert.equal(deltas(whole), (await openai.responses.retrieve(id)).output_text)
})

test('after every number of an ended stream the rest of it comes, and nothing twice', async (t) => {
  const { openai } = await startClient(t)
  const { id } = await openai.responses.create({ model: 'scripted', input })
  const whole = await all(await openai.responses.retrieve(id, { stream: true }))
  const last = whole.at(-1)?.sequence_number ?? 0

  for (let after = 0; after <= last; after++) {
    const rest = await all(await openai.responses.retrieve(id, { stream: true, starting_after: after }))

    const named = (events: ResponseStreamEvent[]): string[] =>
      events.filter(({ type }) => type !== 'response.output_text.delta').map((event) => JSON.stringify(event))
    assert.deepEqual(named(rest), named(whole.filter(({ sequence_number }) => sequence_number > after)))
    assert.ok(HELLO.text.endsWith(deltas(rest)))
    assert.ok(rest.every(({ sequence_number }) => sequence_number > after))
  }
  const ahead = await refusal(openai.responses.retrieve(id, { stream: true, starting_after: last + 1 }))
  assert.deepEqual([ahead.status, ahead.code], [409, 'position_ahead'])
})

test('a stream whose beginning left memory is valid all the same: the client’s own helper has the whole text', async (t) => {
  const { openai } = await startClient(t, { 'max-ring-events': 16 })
  const script = JSON.stringify({ tokens: 3000, stamp: false })
  const { id } = await openai.responses.create({ model: 'scripted', input: script, background: true })
  await until('its end', async () => (await openai.responses.retrieve(id)).status === 'completed')

  const whole = await openai.responses.retrieve(id)
  const helped = await openai.responses.stream({ response_id: id }).finalResponse()

  assert.equal(whole.output_text.split(' ').length, 3001)
  assert.equal(helped.output_text, whole.output_text)
})

test('a background stream goes on after a restart of the gateway, from the number that was seen last', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-test-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const config: Partial<Config> = { port: 0, model: ['scripted'], workers: 1, 'drain-ms': 0, 'data-dir': dir }
  const begin = async (): Promise<Running> => {
    const running = await start(config)
    t.after(() => running.close())
    await running.ready
    return running
  }
  const before = await begin()
  const script = JSON.stringify({ tokens: 60, rate: 100, stamp: false })
  const stream = await clientOf(before).responses.create({
    model: 'scripted',
    input: script,
    background: true,
    stream: true,
  })
  const seen: ResponseStreamEvent[] = []
  for await (const event of stream) {
    seen.push(event)
    if (seen.length === 15) break
  }
  await before.close()

  const openai = clientOf(await begin())
  const [created] = seen
  assert.ok(created?.type === 'response.created')
  const rest = await all(
    await openai.responses.retrieve(created.response.id, {
      stream: true,
      starting_after: seen.at(-1)?.sequence_number ?? -1,
    }),
  )
  const whole = await openai.responses.retrieve(created.response.id)

  assert.equal(rest.at(-1)?.type, 'response.completed')
  assert.equal(deltas(seen) + deltas(rest), whole.output_text)
  assert.equal(whole.usage?.output_tokens, 60)
})

test('a response goes on from the one before, without its instructions', async (t) => {
  const { openai, running } = await startClient(t)
  const first = await openai.responses.create({ model: 'scripted', input, instructions: 'First.' })

  const second = await openai.responses.create({
    model: 'scripted',
    input: [{ role: 'user', content: [{ type: 'input_text', text: JSON.stringify({ text: 'two', tokens: 1 }) }] }],
    instructions: 'Second.',
    previous_response_id: first.id,
  })
  const { records } = await running.gateway.list(authenticate(), Infinity, 1, null)

  assert.deepEqual([second.previous_response_id, second.output_text], [first.id, 'two'])
  assert.deepEqual(records[0]?.task.spec.prompt, {
    type: 'chat',
    messages: [
      { role: 'system', content: 'Second.' },
      { role: 'user', content: input },
      { role: 'assistant', content: HELLO.text },
      { role: 'user', content: JSON.stringify({ text: 'two', tokens: 1 }) },
    ],
  })
})

test('an output can be sent back as input', async (t) => {
  const { openai } = await startClient(t)
  const first = await openai.responses.create({ model: 'scripted', input })

  const second = await openai.responses.create({
    model: 'scripted',
    input: [{ role: 'user', content: 'Hi.' }, ...first.output, { role: 'user', content: input }] as never,
  })

  assert.equal(second.output_text, HELLO.text)
})

test('a response that never was, is not stored, or still runs cannot be gone on from', async (t) => {
  const { openai } = await startClient(t)
  const unstored = await openai.responses.create({ model: 'scripted', input, store: false })
  const running = await openai.responses.create({
    model: 'scripted',
    input: JSON.stringify(ENDLESS),
    background: true,
  })
  const code = async (previous_response_id: string): Promise<unknown[]> => {
    const { status, code } = await refusal(openai.responses.create({ model: 'scripted', input, previous_response_id }))
    return [status, code]
  }

  for (const id of ['resp_none', unstored.id, running.id]) {
    assert.deepEqual(await code(id), [400, 'previous_response_not_found'])
  }
})

test('a cancel ends a response, and again changes nothing', async (t) => {
  const { openai } = await startClient(t)
  const request = { model: 'scripted', input: JSON.stringify(ENDLESS), background: true }
  const stream = await openai.responses.create({ ...request, stream: true })
  const seen: ResponseStreamEvent[] = []

  for await (const event of stream) {
    seen.push(event)
    if (event.type !== 'response.output_text.delta' || seen.length > 10) continue
    const [created] = seen
    if (created?.type === 'response.created') await openai.responses.cancel(created.response.id)
  }
  const last = seen.at(-1)
  assert.ok(last?.type === 'response.incomplete')
  const again = await openai.responses.cancel(last.response.id)

  assert.equal(last.response.status, 'cancelled')
  assert.deepEqual([again.id, again.status], [last.response.id, 'cancelled'])
})

test('a response that is deleted is gone, running or ended', async (t) => {
  const { openai, running } = await startClient(t)
  const ended = await openai.responses.create({ model: 'scripted', input })
  const endless = await openai.responses.create({
    model: 'scripted',
    input: JSON.stringify(ENDLESS),
    background: true,
  })

  for (const { id } of [ended, endless]) {
    await openai.responses.delete(id)
    const { status, code } = await refusal(openai.responses.retrieve(id))
    const task = await fetch(`${running.url}/v1/tasks/task_${id.slice(5)}`)
    assert.deepEqual([status, code, task.status], [404, 'response_not_found', 410])
  }
})

test('a response with store: false is answered and not kept for anybody', async (t) => {
  const { openai } = await startClient(t)

  const answered = await openai.responses.create({ model: 'scripted', input, store: false })
  const { status } = await refusal(openai.responses.retrieve(answered.id))

  assert.deepEqual([answered.output_text, status], [HELLO.text, 404])
})

const REFUSED: [what: string, fields: Record<string, unknown>, code: string, param: string][] = [
  ['tools', { tools: [{ type: 'web_search' }] }, 'unsupported_field', 'tools'],
  ['JSON', { text: { format: { type: 'json_object' } } }, 'unsupported_field', 'text'],
  ['reasoning', { reasoning: { effort: 'high' } }, 'unsupported_field', 'reasoning'],
  ['a conversation', { conversation: 'conv_1' }, 'unsupported_field', 'conversation'],
  ['truncation', { truncation: 'auto' }, 'unsupported_field', 'truncation'],
  ['an include that there is not', { include: ['file_search_call.results'] }, 'invalid_request', 'include.0'],
  ['a background that is not stored', { background: true, store: false }, 'invalid_request', 'store'],
  ['a field that there is not', { max_tokens: 5 }, 'unknown_field', 'max_tokens'],
  ['the output of a tool', { input: [{ type: 'function_call_output' }] }, 'unsupported_field', 'input.0'],
  [
    'an image',
    { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] }] },
    'unsupported_field',
    'input.0.content.0',
  ],
]

test('what is not supported is refused by its name', async (t) => {
  const { openai } = await startClient(t)

  for (const [what, fields, code, param] of REFUSED) {
    const error = await refusal(openai.responses.create({ model: 'scripted', input, ...fields } as never))
    assert.deepEqual([what, error.status, error.code, error.param], [what, 400, code, param])
  }
})

test('a response that nobody reads is canceled after the grace; one in the background is not', async (t) => {
  const { openai, running } = await startClient(t, { 'openai-grace-ms': 0 })
  const request = { model: 'scripted', input: JSON.stringify(ENDLESS), stream: true as const }
  const begin = async (background: boolean): Promise<string> => {
    const { data, response } = await openai.responses.create({ ...request, background }).withResponse()
    const id = response.headers.get('x-task-id') ?? ''
    data.controller.abort()
    return id
  }
  const behind = await begin(true)
  const front = await begin(false)

  const { records } = await running.gateway.list(authenticate(), Infinity, 10, null)
  const status = (id: string) => records.find(({ task }) => task.id === id)?.state.status
  await until('the end of the one in front', () => status(front) === 'canceled')

  assert.equal(status(behind), 'running')
})

test('logprobs come where they are asked for, in the deltas and in the whole', async (t) => {
  const { openai } = await startClient(t, { model: ['default'], workers: 1 })
  const events = await all(
    await openai.responses.create({
      model: 'default',
      input: 'Tell me a story.',
      max_output_tokens: 6,
      include: ['message.output_text.logprobs'],
      top_logprobs: 2,
      stream: true,
    }),
  )

  const said = events.flatMap((event) => (event.type === 'response.output_text.delta' ? (event.logprobs ?? []) : []))
  const last = events.at(-1)
  assert.ok(last?.type === 'response.incomplete')
  const [item] = last.response.output
  assert.ok(item?.type === 'message' && item.content[0]?.type === 'output_text')
  assert.deepEqual(item.content[0].logprobs, said)
  assert.equal(said.map(({ token }) => token).join(''), deltas(events))
  assert.deepEqual([said.length, said[0]?.top_logprobs?.length, last.response.top_logprobs], [6, 2, 2])
})
