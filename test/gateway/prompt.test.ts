import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Message, TaskSpec } from '../../src/core/task.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import { onnxSource } from '../model/answer.js'
import { aSpec } from '../task.js'
import { listed, makeGateway, outline, script, submit, whole } from './harness.js'

const MODELS = [{ source: onnxSource(), workers: 1 }]
/** Might be too long for 512 tokens, for all that can be said of it without a tokenizer; it is not. */
const LONG = 'Tell me a story about a fox who lost a kite. '.repeat(20)
const TOO_LONG = 'Tell me a story about a fox who lost a kite. '.repeat(200)

/** With the embedded model, not loaded: what is queued stays. */
const closed = (t: TestContext, more: Parameters<typeof makeGateway>[1] = {}): Gateway =>
  makeGateway(t, { models: MODELS, ...more })

const chat = (...contents: string[]): TaskSpec => {
  const messages = contents.map((content): Message => ({ role: 'user', content }))
  return aSpec({ prompt: { type: 'chat', messages } })
}

test('a prompt that can never fit is refused with both numbers, before it is queued', async (t) => {
  const gateway = closed(t)

  await assert.rejects(submit(gateway, aSpec({ text: TOO_LONG })), {
    code: 'prompt_too_long',
    param: 'prompt',
    message: /^the prompt has (at least )?\d+ tokens, but prompt and answer together have room for 512$/,
  })
  await assert.rejects(submit(gateway, chat('Hello', TOO_LONG)), { code: 'prompt_too_long', param: 'messages' })

  assert.deepEqual(await listed(gateway), [])
})

test('a long prompt that fits comes to the model as ids, which are kept until its task has ended', async (t) => {
  const gateway = closed(t)
  const long = await submit(gateway, aSpec({ text: LONG, maxTokens: 5 }))
  const short = await submit(gateway, aSpec({ text: 'Hello', maxTokens: 5 }))
  const ids = long.task.promptIds?.length ?? 0
  const before = long.bytes - short.bytes

  await gateway.open()
  const events = await whole(gateway, long)

  assert.ok(ids > 200 && ids < 512, `${ids}`)
  assert.equal(short.task.promptIds, null)
  assert.equal(before, ids * 4)
  assert.equal(outline(events), 'queued, started 1, completed')
  assert.equal(long.state.usage?.prompt_tokens, ids)
  assert.equal(long.task.promptIds, null)
})

test('who cannot be queued is told so, and nothing is encoded for it', async (t) => {
  const gateway = closed(t, { maxQueue: 1 })
  await submit(gateway, aSpec({ text: 'Hello' }))

  await assert.rejects(submit(gateway, aSpec({ text: TOO_LONG })), { code: 'queue_full' })
  await gateway.drain(0)
  await assert.rejects(submit(gateway, aSpec({ text: TOO_LONG })), { code: 'draining' })
})

test('a prompt that is being encoded has its place in the queue', async (t) => {
  const gateway = closed(t, { maxQueue: 2 })

  const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => submit(gateway, aSpec({ text: LONG }))))

  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as { code: string }).code : 'queued')),
    ['queued', 'queued', 'queue_full', 'queue_full'],
  )
})

test('a prompt whose encoding a drain overtakes is refused, and its task never was', async (t) => {
  const gateway = closed(t)

  const submitting = assert.rejects(submit(gateway, aSpec({ text: LONG })), { code: 'draining' })
  await gateway.drain(0)
  await submitting

  assert.deepEqual(await listed(gateway), [])
})

test('the place of a prompt that was refused is free again', async (t) => {
  const gateway = closed(t, { maxQueue: 1 })

  for (let i = 0; i < 3; i++) {
    await assert.rejects(submit(gateway, aSpec({ text: TOO_LONG })), { code: 'prompt_too_long' })
  }

  assert.ok(await submit(gateway, aSpec({ text: LONG })))
})

test('a scripted model takes a prompt of any length', async (t) => {
  const gateway = makeGateway(t)
  await gateway.open()

  const events = await whole(gateway, await submit(gateway, script({ tokens: 1, text: 'x'.repeat(1_000_000) })))

  assert.equal(events.at(-1)?.type, 'completed')
})
