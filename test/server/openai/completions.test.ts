import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type OpenAI from 'openai'
import { type Running, start } from '../../../src/index.js'
import { authenticate } from '../../../src/server/auth.js'
import { until } from '../../until.js'
import { freePort, startGateway, type TaskObject } from '../harness.js'
import { CuttingProxy } from '../proxy.js'
import { chat, clientOf, ENDLESS, HELLO, refusal, startClient } from './client.js'

type Chunk = OpenAI.Chat.Completions.ChatCompletionChunk

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

const contentOf = (chunks: Chunk[]): string => chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

test('models are listed and found', async (t) => {
  const { openai } = await startClient(t)

  const list = await openai.models.list()
  const model = await openai.models.retrieve('scripted')

  assert.deepEqual(
    list.data.map(({ id, object }) => [id, object]),
    [['scripted', 'model']],
  )
  assert.deepEqual(model, list.data[0])
  assert.equal((await refusal(openai.models.retrieve('other'))).code, 'model_not_found')
})

test('a chat completion is answered whole, and is a task that can be read', async (t) => {
  const { openai, running } = await startClient(t)

  const { data, response } = await openai.chat.completions
    .create({ model: 'scripted', messages: chat(HELLO) })
    .withResponse()
  const id = response.headers.get('x-task-id')
  const task = (await (await fetch(`${running.url}/v1/tasks/${id}`)).json()) as TaskObject

  const { usage, ...rest } = data
  assert.deepEqual(rest, {
    id: `chatcmpl-${id?.slice(5)}`,
    object: 'chat.completion',
    created: data.created,
    model: 'scripted',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: HELLO.text, refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
  })
  assert.equal(usage?.completion_tokens, 6)
  assert.equal(usage?.total_tokens, 6 + (usage?.prompt_tokens ?? 0))
  assert.deepEqual([task.status, task.output.text], ['completed', HELLO.text])
})

test('a streamed chat completion begins with the role, says the text, and ends with its reason', async (t) => {
  const { openai } = await startClient(t)

  const chunks = await all(
    await openai.chat.completions.create({ model: 'scripted', messages: chat(HELLO), stream: true }),
  )

  const [first] = chunks
  assert.deepEqual(first?.choices[0]?.delta, { role: 'assistant', content: '' })
  assert.equal(contentOf(chunks), HELLO.text)
  assert.deepEqual(
    chunks.map(({ choices }) => choices[0]?.finish_reason).filter((reason) => reason !== null),
    ['stop'],
  )
  assert.equal(new Set(chunks.map(({ id, created, object }) => `${id} ${created} ${object}`)).size, 1)
  assert.ok(chunks.every((chunk) => !('usage' in chunk)))
})

test('with include_usage the last chunk has the usage, and all others say null', async (t) => {
  const { openai } = await startClient(t)

  const chunks = await all(
    await openai.chat.completions.create({
      model: 'scripted',
      messages: chat(HELLO),
      stream: true,
      stream_options: { include_usage: true },
    }),
  )

  const last = chunks.at(-1)
  assert.deepEqual(last?.choices, [])
  assert.equal(last?.usage?.completion_tokens, 6)
  assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null))
})

test('the stream helper of the client gets the same completion as the plain call', async (t) => {
  const { openai } = await startClient(t)

  const stream = openai.chat.completions.stream({ model: 'scripted', messages: chat(HELLO) })
  const final = await stream.finalChatCompletion()

  assert.equal(final.choices[0]?.message.content, HELLO.text)
  assert.equal(final.choices[0]?.finish_reason, 'stop')
})

test('max_tokens ends an answer with `length`, under its new and its old name', async (t) => {
  const { openai } = await startClient(t)
  const ask = async (limit: object): Promise<unknown[]> => {
    const { choices, usage } = await openai.chat.completions.create({
      model: 'scripted',
      messages: chat(ENDLESS),
      ...limit,
    })
    return [choices[0]?.finish_reason, usage?.completion_tokens]
  }

  assert.deepEqual(await ask({ max_tokens: 3 }), ['length', 3])
  assert.deepEqual(await ask({ max_completion_tokens: 4 }), ['length', 4])
})

test('a stop sequence is a stop and no part of the text', async (t) => {
  const { openai } = await startClient(t)

  const { choices } = await openai.chat.completions.create({
    model: 'scripted',
    messages: chat({ text: 'one two three', tokens: 3 }),
    stop: ' two',
  })

  assert.deepEqual([choices[0]?.message.content, choices[0]?.finish_reason], ['one', 'stop'])
})

test('content in parts and messages that were answered before are read as they are sent', async (t) => {
  const { openai } = await startClient(t)
  const first = await openai.chat.completions.create({ model: 'scripted', messages: chat(HELLO) })
  const answered = first.choices[0]?.message as OpenAI.Chat.Completions.ChatCompletionMessageParam

  const { choices } = await openai.chat.completions.create({
    model: 'scripted',
    messages: [
      { role: 'developer', content: 'Be kind.' },
      ...chat(HELLO),
      answered,
      { role: 'user', content: [{ type: 'text', text: JSON.stringify({ text: 'again', tokens: 1 }) }] },
    ],
    tools: [],
    n: 1,
    response_format: { type: 'text' },
    user: 'u1',
  })

  assert.equal(choices[0]?.message.content, 'again')
})

const REFUSED: [what: string, fields: Record<string, unknown>, code: string, param: string][] = [
  ['several answers', { n: 2 }, 'unsupported_field', 'n'],
  ['tools', { tools: [{ type: 'function', function: { name: 'f' } }] }, 'unsupported_field', 'tools'],
  ['a tool that must be called', { tool_choice: 'required' }, 'unsupported_field', 'tool_choice'],
  ['JSON', { response_format: { type: 'json_object' } }, 'unsupported_field', 'response_format'],
  ['audio', { modalities: ['text', 'audio'] }, 'unsupported_field', 'modalities'],
  ['reasoning', { reasoning_effort: 'high' }, 'unsupported_field', 'reasoning_effort'],
  ['a field that there is not', { max_token: 5 }, 'unknown_field', 'max_token'],
  ['a temperature that is too high', { temperature: 9 }, 'invalid_request', 'temperature'],
  ['alternatives without logprobs', { top_logprobs: 2 }, 'invalid_request', 'top_logprobs'],
  ['stream options of no stream', { stream_options: { include_usage: true } }, 'invalid_request', 'stream_options'],
  ['no messages', { messages: [] }, 'invalid_request', 'messages'],
  ['a tool’s message', { messages: [{ role: 'tool', content: 'x' }] }, 'invalid_request', 'messages.0.role'],
  [
    'an image',
    { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }] }] },
    'unsupported_field',
    'messages.0.content.0',
  ],
  [
    'a named speaker',
    { messages: [{ role: 'user', content: 'x', name: 'Ann' }] },
    'unsupported_field',
    'messages.0.name',
  ],
]

test('what is not supported is refused by its name, before a task is made', async (t) => {
  const { openai, running } = await startClient(t)

  for (const [what, fields, code, param] of REFUSED) {
    const request = { model: 'scripted', messages: chat(HELLO), ...fields }
    const error = await refusal(openai.chat.completions.create(request as never))
    assert.deepEqual([what, error.status, error.code, error.param], [what, 400, code, param])
  }
  assert.deepEqual((await running.gateway.list(authenticate(), Infinity, 10, null)).records, [])
})

test('an answer that fails is an error with the status of its code, and of a stream an error at its end', async (t) => {
  const { openai } = await startClient(t, { 'max-attempts': 1 })
  const request = { model: 'scripted', messages: chat({ tokens: 5, fail_at: 'always' }) }

  const whole = await refusal(openai.chat.completions.create(request))
  const stream = await openai.chat.completions.create({ ...request, stream: true })
  const broken = await refusal(all(stream))

  assert.deepEqual([whole.status, whole.code], [500, 'model_failed'])
  assert.deepEqual([broken.status, broken.code], [undefined, 'model_failed'])
})

test('an answer that somebody cancels is an error that the client does not try again', async (t) => {
  const { running } = await startClient(t)
  const openai = clientOf(running, 2)
  const list = async () => (await running.gateway.list(authenticate(), Infinity, 10, null)).records

  const asking = refusal(openai.chat.completions.create({ model: 'scripted', messages: chat(ENDLESS) }))
  const record = await until('a task that runs', async () => (await list()).find(({ log }) => log.tokens > 0))
  await fetch(`${running.url}/v1/tasks/${record.task.id}`, { method: 'DELETE' })
  const error = await asking

  assert.deepEqual([error.status, error.code], [409, 'task_canceled'])
  assert.equal((await list()).length, 1)
})

test('a streaming client that goes away ends its task after the grace, unless somebody else reads it', async (t) => {
  const { openai, running } = await startClient(t, { 'openai-grace-ms': 0 })
  const request = { model: 'scripted', messages: chat(ENDLESS), stream: true as const }
  const begin = async (): Promise<{ id: string; abort: () => void }> => {
    const { data, response } = await openai.chat.completions.create(request).withResponse()
    return { id: response.headers.get('x-task-id') ?? '', abort: () => data.controller.abort() }
  }
  const watched = await begin()
  const left = await begin()
  const watching = await fetch(`${running.url}/v1/tasks/${watched.id}/events`, {
    headers: { accept: 'text/event-stream' },
  })

  watched.abort()
  left.abort()
  const { records } = await running.gateway.list(authenticate(), Infinity, 10, null)
  const of = (id: string) => records.find(({ task }) => task.id === id)
  await until('the end of the one that nobody reads', () => of(left.id)?.state.ended)

  assert.equal(of(left.id)?.state.status, 'canceled')
  assert.equal(of(watched.id)?.state.status, 'running')
  await watching.body?.cancel()
})

test('an idempotency key makes one task of two calls, also of a stream and its repetition', async (t) => {
  const { openai } = await startClient(t)
  const request = { model: 'scripted', messages: chat(HELLO) }
  const options = { headers: { 'Idempotency-Key': 'k1' } }

  const first = await openai.chat.completions.create(request, options)
  const second = await openai.chat.completions.create(request, options)
  const streamed = await all(
    await openai.chat.completions.create({ ...request, stream: true }, { headers: { 'Idempotency-Key': 'k2' } }),
  )
  const replayed = await all(
    await openai.chat.completions.create({ ...request, stream: true }, { headers: { 'Idempotency-Key': 'k2' } }),
  )
  const other = await refusal(openai.chat.completions.create({ ...request, seed: 1 }, options))

  assert.deepEqual(second, first)
  assert.equal(replayed[0]?.id, streamed[0]?.id)
  assert.equal(contentOf(replayed), HELLO.text)
  assert.deepEqual([other.status, other.code], [409, 'idempotency_conflict'])
})

test('a stream that is repeated when its beginning left memory has the whole text, merged', async (t) => {
  const { openai } = await startClient(t, { 'max-ring-events': 16 })
  const request = { model: 'scripted', messages: chat({ tokens: 3000 }), stream: true as const }
  const options = { headers: { 'Idempotency-Key': 'long' } }

  const first = contentOf(await all(await openai.chat.completions.create(request, options)))
  const again = await all(await openai.chat.completions.create(request, options))

  assert.equal(first.split(' ').length, 3001)
  assert.equal(contentOf(again), first)
  assert.ok(again.length < 100, `${again.length} chunks`)
})

test('an answer whose gateway is restarted meanwhile comes from the next one, and is one task', async (t) => {
  const port = await freePort()
  const first = await startGateway(t, { port })
  const dir = first.dataDir as string
  const asking = clientOf(first, 5).chat.completions.create(
    { model: 'scripted', messages: chat({ tokens: 200, rate: 100 }) },
    { headers: { 'Idempotency-Key': 'restarted' } },
  )
  const list = async ({ gateway }: Running) => (await gateway.list(authenticate(), Infinity, 10, null)).records
  await until('some text', async () => (await list(first)).some(({ log }) => log.tokens > 10))

  await first.close()
  const second = await start({ port, model: ['scripted'], workers: 1, 'drain-ms': 0, 'data-dir': dir })
  t.after(() => second.close())
  const { choices, usage } = await asking

  assert.equal(choices[0]?.message.content?.split(' ').length, 201)
  assert.deepEqual([usage?.completion_tokens, (await list(second)).length], [200, 1])
})

test('a retry of the stock client after a cut answer finds its own task by the key', async (t) => {
  const { running } = await startClient(t)
  const proxy = await CuttingProxy.start(t, running.url)
  proxy.bytes = 20
  const openai = clientOf({ url: proxy.url }, 2)

  const asking = openai.chat.completions.create(
    { model: 'scripted', messages: chat(HELLO) },
    { headers: { 'Idempotency-Key': 'retried' } },
  )
  await until('a cut', () => proxy.cuts > 0)
  proxy.bytes = Number.POSITIVE_INFINITY
  const { choices } = await asking
  const { records } = await running.gateway.list(authenticate(), Infinity, 10, null)

  assert.equal(choices[0]?.message.content, HELLO.text)
  assert.ok(proxy.connections > 1)
  assert.equal(records.length, 1)
})

test('a completion goes on from its prompt, whole and as a stream, with 16 tokens where none are said', async (t) => {
  const { openai } = await startClient(t)
  const prompt = JSON.stringify(HELLO)

  const whole = await openai.completions.create({ model: 'scripted', prompt })
  const stream = await all(await openai.completions.create({ model: 'scripted', prompt: [prompt], stream: true }))
  const short = await openai.completions.create({ model: 'scripted', prompt: JSON.stringify(ENDLESS) })

  assert.deepEqual(whole.choices, [{ index: 0, text: HELLO.text, logprobs: null, finish_reason: 'stop' }])
  assert.equal(stream.map(({ choices }) => choices[0]?.text ?? '').join(''), HELLO.text)
  assert.equal(stream.at(-1)?.choices[0]?.finish_reason, 'stop')
  assert.ok([whole, ...stream].every(({ object }) => object === 'text_completion'))
  assert.deepEqual([short.usage?.completion_tokens, short.choices[0]?.finish_reason], [16, 'length'])
})

test('a completion of several prompts, of token ids, or with a suffix is refused', async (t) => {
  const { openai } = await startClient(t)
  const refused = async (fields: object): Promise<unknown[]> => {
    const { code, param } = await refusal(openai.completions.create({ model: 'scripted', prompt: '{}', ...fields }))
    return [code, param]
  }

  assert.deepEqual(await refused({ prompt: ['{}', '{}'] }), ['unsupported_field', 'prompt'])
  assert.deepEqual(await refused({ prompt: [1, 2] }), ['unsupported_field', 'prompt'])
  assert.deepEqual(await refused({ suffix: 'the end' }), ['unsupported_field', 'suffix'])
  assert.deepEqual(await refused({ best_of: 2 }), ['unsupported_field', 'best_of'])
})

/** With the model that ships, which has logprobs. */
const withLogprobs = (t: TestContext) => startClient(t, { model: ['default'], workers: 1 })

test('logprobs come for every token, in the shape of each surface', async (t) => {
  const { openai } = await withLogprobs(t)
  const messages = [{ role: 'user' as const, content: 'Tell me a story.' }]
  const asked = { model: 'default', max_tokens: 8, temperature: 0 }

  const whole = await openai.chat.completions.create({ ...asked, messages, logprobs: true, top_logprobs: 2 })
  const streamed = await all(
    await openai.chat.completions.create({ ...asked, messages, logprobs: true, top_logprobs: 2, stream: true }),
  )
  const text = await openai.completions.create({ ...asked, prompt: 'Once upon', logprobs: 1 })

  const content = whole.choices[0]?.logprobs?.content ?? []
  assert.equal(content.length, 8)
  assert.ok(content.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2))
  assert.equal(content.map(({ token }) => token).join(''), whole.choices[0]?.message.content)
  assert.deepEqual(
    streamed.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []),
    content,
  )
  const legacy = text.choices[0]?.logprobs
  assert.equal(legacy?.tokens?.join(''), text.choices[0]?.text)
  assert.deepEqual(legacy?.text_offset?.slice(0, 2), [0, legacy?.tokens?.[0]?.length])
  assert.deepEqual(
    legacy?.top_logprobs?.map((top) => Object.keys(top).length),
    Array(8).fill(1),
  )
})
