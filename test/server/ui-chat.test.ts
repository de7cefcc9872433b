/** The AI SDK's chat, with its own transport and its own chat, as `useChat` has them. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  AbstractChat,
  type ChatState,
  type ChatStatus,
  DefaultChatTransport,
  type UIMessage,
  type UIMessageChunk,
} from 'ai'
import { until } from '../until.js'
import { startGateway } from './harness.js'
import { CuttingProxy } from './proxy.js'

/** What `useChat` keeps in React. */
class State implements ChatState<UIMessage> {
  status: ChatStatus = 'ready'
  error: Error | undefined = undefined
  messages: UIMessage[] = []

  pushMessage = (message: UIMessage): void => {
    this.messages = [...this.messages, message]
  }

  popMessage = (): void => {
    this.messages = this.messages.slice(0, -1)
  }

  replaceMessage = (index: number, message: UIMessage): void => {
    this.messages = this.messages.with(index, message)
  }

  snapshot = <T>(value: T): T => structuredClone(value)
}

class Chat extends AbstractChat<UIMessage> {
  constructor(url: string, id: string) {
    super({ id, state: new State(), transport: new DefaultChatTransport({ api: `${url}/api/chat` }) })
  }

  get answer(): string {
    const last = this.messages.at(-1)
    return last?.role === 'assistant' ? textOf(last) : ''
  }
}

const textOf = (message: UIMessage | undefined): string =>
  (message?.parts ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('')

const script = (fields: object): { text: string } => ({ text: JSON.stringify(fields) })
const HELLO = { text: 'Hello, wörld 👋!', tokens: 6 }
const SLOW = { text: 'a long answer, that takes its time', tokens: 34, rate: 60 }

const begin = async (t: TestContext) => (await startGateway(t)).url

test('a chat gets its answer, with the task and its usage in the message’s metadata', async (t) => {
  const url = await begin(t)
  const chat = new Chat(url, 'c1')

  await chat.sendMessage(script(HELLO))

  const message = chat.messages.at(-1)
  const metadata = message?.metadata as { task: string; usage: { completion_tokens: number } }
  assert.deepEqual([chat.status, chat.answer], ['ready', HELLO.text])
  assert.equal(message?.id, `msg_${metadata.task.slice(5)}`)
  assert.equal(metadata.usage.completion_tokens, 6)
})

test('a chat goes on and regenerates', async (t) => {
  const url = await begin(t)
  const chat = new Chat(url, 'c1')

  await chat.sendMessage(script(HELLO))
  await chat.sendMessage(script({ text: 'second', tokens: 1 }))
  const [first, , third] = chat.messages.map(({ id }) => id)
  await chat.regenerate()

  assert.deepEqual(
    chat.messages.map(({ role }) => role),
    ['user', 'assistant', 'user', 'assistant'],
  )
  assert.deepEqual([chat.messages[0]?.id, chat.messages[2]?.id, chat.answer], [first, third, 'second'])
})

test('a page that is reloaded in mid-answer resumes it, and so does a second one', async (t) => {
  const url = await begin(t)
  const before = new Chat(url, 'c1')
  void before.sendMessage(script(SLOW))
  await until('some text', () => before.answer !== '')
  await before.stop()
  const left = before.answer

  const [after, second] = [new Chat(url, 'c1'), new Chat(url, 'c1')]
  after.messages = before.messages.slice(0, 1)
  second.messages = before.messages.slice(0, 1)
  await Promise.all([after.resumeStream(), second.resumeStream()])

  assert.ok(left.length < SLOW.text.length)
  for (const chat of [after, second]) {
    assert.deepEqual([chat.messages.length, chat.answer], [2, SLOW.text])
  }
})

test('a page that kept the beginning of the answer has all of it once after it resumes', async (t) => {
  const url = await begin(t)
  const before = new Chat(url, 'c1')
  void before.sendMessage(script(SLOW))
  await until('some text', () => before.answer !== '')
  await before.stop()

  const after = new Chat(url, 'c1')
  after.messages = before.messages
  await after.resumeStream()

  assert.deepEqual([after.messages.length, after.answer], [2, SLOW.text])
})

test('an answer that ended while nobody read it is there for who comes back', async (t) => {
  const running = await startGateway(t)
  const before = new Chat(running.url, 'c1')
  void before.sendMessage(script(SLOW))
  await until('some text', () => before.answer !== '')
  await before.stop()
  const { task } = (before.messages.at(-1) as UIMessage).metadata as { task: string }
  await fetch(`${running.url}/v1/tasks/${task}?wait=30`)

  const after = new Chat(running.url, 'c1')
  after.messages = before.messages.slice(0, 1)
  await after.resumeStream()

  assert.equal(after.answer, SLOW.text)
})

test('a chat without an answer has nothing to resume', async (t) => {
  const url = await begin(t)
  const chat = new Chat(url, 'never')

  const response = await fetch(`${url}/api/chat/never/stream`)
  await chat.resumeStream()

  assert.deepEqual([response.status, chat.status, chat.messages], [204, 'ready', []])
})

test('a connection that is cut leaves the answer, which the transport takes up', async (t) => {
  const url = await begin(t)
  const proxy = await CuttingProxy.start(t, url)
  proxy.bytes = 900
  const chat = new Chat(proxy.url, 'c1')
  await chat.sendMessage(script(SLOW))
  const cut = chat.answer
  proxy.bytes = Number.POSITIVE_INFINITY

  await chat.resumeStream()

  assert.ok(cut.length < SLOW.text.length)
  assert.deepEqual([chat.messages.length, chat.answer, chat.status], [2, SLOW.text, 'ready'])
})

test('stopping is a request of its own, and ends the answer for all who read it', async (t) => {
  const url = await begin(t)
  const chat = new Chat(url, 'c1')
  const transport = new DefaultChatTransport<UIMessage>({ api: `${url}/api/chat` })
  const sending = chat.sendMessage(script({ tokens: 1_000_000, rate: 200 }))
  await until('some text', () => chat.answer !== '')
  const stream = await transport.reconnectToStream({ chatId: 'c1' })

  const stopped = await fetch(`${url}/api/chat/c1/stop`, { method: 'POST' })
  const chunks: UIMessageChunk[] = []
  for await (const chunk of stream as ReadableStream<UIMessageChunk>) chunks.push(chunk)
  await sending

  assert.equal(stopped.status, 204)
  assert.deepEqual(
    chunks.slice(-2).map(({ type }) => type),
    ['text-end', 'abort'],
  )
  assert.deepEqual([chat.status, chat.answer !== ''], ['ready', true])
})

test('an answer that fails is the chat’s error', async (t) => {
  const { url } = await startGateway(t, { 'max-attempts': 1 })
  const chat = new Chat(url, 'c1')

  await chat.sendMessage(script({ tokens: 5, fail_at: 'always' }))

  assert.equal(chat.status, 'error')
  assert.match(chat.error?.message ?? '', /fail/)
})

test('the stream says where the task waits and how far it is, beside the message', async (t) => {
  const url = await begin(t)
  const body = { id: 'c1', messages: [{ id: 'm', role: 'user', parts: [{ type: 'text', ...script(HELLO) }] }] }

  const response = await fetch(`${url}/api/chat`, { method: 'POST', body: JSON.stringify(body) })
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: {'))
  const chunks = lines.map((line) => JSON.parse(line.slice(6)) as UIMessageChunk)

  assert.deepEqual(
    ['x-vercel-ai-ui-message-stream', 'content-type', 'x-accel-buffering'].map((name) => response.headers.get(name)),
    ['v1', 'text/event-stream', 'no'],
  )
  assert.deepEqual(
    [...new Set(chunks.map(({ type }) => type))],
    [
      'start',
      'data-queue',
      'start-step',
      'text-start',
      'text-delta',
      'data-progress',
      'text-end',
      'finish-step',
      'finish',
    ],
  )
})

test('what no model here can read is refused by its place in the request', async (t) => {
  const url = await begin(t)
  const file = { type: 'file', mediaType: 'image/png', url: 'data:,' }
  const refused = async (body: object): Promise<unknown[]> => {
    const response = await fetch(`${url}/api/chat`, { method: 'POST', body: JSON.stringify(body) })
    const { error } = (await response.json()) as { error: { code: string; param: string } }
    return [response.status, error.code, error.param]
  }

  assert.deepEqual(await refused({ id: 'c1', messages: [{ role: 'user', parts: [file] }] }), [
    400,
    'unsupported_field',
    'messages.0.parts.0',
  ])
  assert.deepEqual(await refused({ id: 'c1', messages: [] }), [400, 'invalid_request', 'messages'])
  assert.deepEqual(await refused({ messages: [] }), [400, 'invalid_request', 'id'])
  assert.deepEqual(await refused({ id: 'c1', messages: [], webSearch: true }), [400, 'unknown_field', 'webSearch'])
})
