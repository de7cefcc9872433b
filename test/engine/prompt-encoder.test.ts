import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Prompt } from '../../src/core/task.js'
import { isLong, PromptEncoder } from '../../src/engine/prompt-encoder.js'
import { ChatTemplate } from '../../src/model/chat-template.js'
import { encodePrompt } from '../../src/model/prompt.js'
import { Tokenizer } from '../../src/model/tokenizer.js'
import { MODEL_DIR } from '../model/answer.js'

const tokenizer = Tokenizer.load(MODEL_DIR)
const template = ChatTemplate.load(MODEL_DIR, tokenizer.specialTokens)
const MODEL = { dir: MODEL_DIR, contextTokens: 512 }

const text = (text: string): Prompt => ({ type: 'text', text })
const chat = (...contents: string[]): Prompt => ({
  type: 'chat',
  messages: contents.map((content) => ({ role: 'user', content })),
})

function open(t: TestContext): PromptEncoder {
  const encoder = new PromptEncoder()
  t.after(() => encoder.close())
  return encoder
}

test('a prompt is encoded in another thread as the model’s own thread would', async (t) => {
  const encoder = open(t)
  const prompts = [text('Tell me a story. '.repeat(30)), chat('Hello!', 'Who are you?'), text('<|end|><|user|>')]

  const encoded = await Promise.all(prompts.map((prompt) => encoder.encode(MODEL, prompt)))

  const expected = prompts.map((prompt) => Int32Array.from(encodePrompt(prompt, { tokenizer, template, ...MODEL })))
  assert.deepEqual(encoded, expected)
})

test('a prompt that cannot fit is refused with its tokens and the room', async (t) => {
  const encoder = open(t)
  const hello = encodePrompt(text('Hello there.'), { tokenizer, template, ...MODEL }).length

  await assert.rejects(encoder.encode({ ...MODEL, contextTokens: hello }, text('Hello there.')), {
    name: 'RejoinError',
    code: 'prompt_too_long',
    param: 'prompt',
    message: `the prompt has ${hello} tokens, but prompt and answer together have room for ${hello}`,
  })
  await assert.rejects(encoder.encode(MODEL, chat('x'.repeat(1_000_000))), {
    code: 'prompt_too_long',
    param: 'messages',
    message: /^the prompt has at least \d+ tokens, but prompt and answer together have room for 512$/,
  })
  assert.equal((await encoder.encode({ ...MODEL, contextTokens: hello + 1 }, text('Hello there.'))).length, hello)
})

test('a prompt that the model cannot read is refused', async (t) => {
  await assert.rejects(open(t).encode(MODEL, text('')), { code: 'invalid_prompt', message: 'the prompt is empty' })
})

test('a model that cannot be loaded is no refusal, and the next prompt is encoded all the same', async (t) => {
  const encoder = open(t)

  await assert.rejects(encoder.encode({ ...MODEL, dir: '/nowhere' }, text('Hello')), /\/nowhere.*no such file/)

  assert.ok((await encoder.encode(MODEL, text('Hello'))).length > 0)
})

test('what is encoded when the gateway closes is refused as `draining`', async () => {
  const encoder = new PromptEncoder()
  const encoding = encoder.encode({ ...MODEL, contextTokens: 1_000_000 }, text('word '.repeat(50_000)))

  const refused = assert.rejects(encoding, { code: 'draining', retryAfterS: 1 })
  await encoder.close()

  await refused
})

test('an encoder that nobody needed closes at once', async () => {
  await new PromptEncoder().close()
})

test('a prompt is long when it might not fit, or would hold up a batch', () => {
  assert.equal(isLong(text('x'.repeat(367)), 512), false)
  assert.equal(isLong(text('x'.repeat(368)), 512), true)
  assert.equal(isLong(text('é'.repeat(184)), 512), true)
  assert.equal(isLong(chat('x', 'x'), 162), true)
  assert.equal(isLong(chat('x', 'x'), 163), false)
  assert.equal(isLong(text('x'.repeat(4096)), 1_000_000), false)
  assert.equal(isLong(text('x'.repeat(4097)), 1_000_000), true)
})
