import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskEvent } from '../../src/client/index.js'
import {
  type Answer,
  afterEvent,
  DEFAULTS,
  newAnswer,
  newConversation,
  type Question,
  rateOf,
  requestFor,
  titleOf,
  withMessage,
} from '../../src/page/conversation.js'

const question = (text: string): Question => ({ id: text, role: 'user', text })
const answer = (text: string): Answer => ({ ...newAnswer(text, 'k', { prompt: 'x' }), status: 'completed', text })
const event = (body: object): TaskEvent => ({ task: 'task_x', seq: 9, at: 1, ...body }) as unknown as TaskEvent

test('a request has all turns, and of the settings those that are set', () => {
  const messages = [question('one'), answer('two'), question('three'), answer(''), question('four')]

  const plain = requestFor(messages, DEFAULTS)
  const set = requestFor([question('one')], { model: 'm', temperature: 0, maxTokens: 5, system: 'Be kind.' })

  assert.deepEqual(plain, {
    messages: [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
      { role: 'user', content: 'four' },
    ],
  })
  assert.deepEqual(set, {
    messages: [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'one' },
    ],
    model: 'm',
    temperature: 0,
    max_tokens: 5,
  })
})

test('a title is the first words of a message, on one line', () => {
  assert.equal(titleOf('  a\n b '), 'a b')
  assert.equal(titleOf('x'.repeat(60)), `${'x'.repeat(47)}…`)
})

test('an answer takes from its terminal event how it ended, and from no other', () => {
  const waiting = newAnswer('a', 'k', { prompt: 'x' })
  const usage = { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 11 }
  const timings = { queued_ms: 0, first_token_ms: 100, total_ms: 600 }

  const completed = afterEvent(waiting, event({ type: 'completed', finish_reason: 'length', usage, timings }), 'text')
  const failed = afterEvent(waiting, event({ type: 'failed', error: { code: 'prompt_too_long', message: 'm' } }), '')
  const canceled = afterEvent(waiting, event({ type: 'canceled', by: 'client' }), 'te')

  assert.deepEqual([completed.status, completed.text], ['completed', 'text'])
  assert.deepEqual(completed.stats, { tokens: 11, firstTokenMs: 100, totalMs: 600, finish: 'length' })
  assert.equal(completed.stats && rateOf(completed.stats), 20)
  assert.match(failed.reason ?? '', /too long/)
  assert.deepEqual([canceled.status, canceled.text, canceled.reason], ['canceled', 'te', null])
  assert.equal(afterEvent(waiting, event({ type: 'token', text: 'x', tokens: 1 }), 'x'), waiting)
})

test('an answer of one token, or without any, has no rate', () => {
  assert.equal(rateOf({ tokens: 1, firstTokenMs: 5, totalMs: 9, finish: 'stop' }), null)
  assert.equal(rateOf({ tokens: 0, firstTokenMs: null, totalMs: 9, finish: 'stop' }), null)
})

test('changing one message leaves the others', () => {
  const conversation = { ...newConversation('c', 0), messages: [question('one'), answer('two')] }

  const changed = withMessage(conversation, { ...answer('two'), text: 'new' })

  assert.deepEqual(
    changed.messages.map(({ text }) => text),
    ['one', 'new'],
  )
})
