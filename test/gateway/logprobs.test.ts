import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskEvent, TokenEvent, TokenLogprob } from '../../src/core/event.js'
import { FlushLogprobs } from '../../src/gateway/logprobs.js'
import type { Reader } from '../../src/log/reader.js'
import { onnxSource } from '../model/answer.js'
import { aSpec } from '../task.js'
import { until } from '../until.js'
import { openGateway, script, submit, textOf, whole, words } from './harness.js'

const json = (token: string): string => JSON.stringify({ token, bytes: [], logprob: -1, top_logprobs: [] })

const names = (logprobs: FlushLogprobs, handle: number, tokens: number): string[] | undefined =>
  logprobs.take(handle, tokens)?.map(({ token }) => token)

test('each task of a flush gets its own logprobs, in the order of its tokens', () => {
  const logprobs = new FlushLogprobs([
    [7, ['a', 'b'].map(json)],
    [9, ['x'].map(json)],
    [7, ['c', 'd'].map(json)],
  ])

  const taken = [names(logprobs, 7, 1), names(logprobs, 9, 1), names(logprobs, 7, 2), names(logprobs, 7, 1)]

  assert.deepEqual(taken, [['a'], ['x'], ['b', 'c'], ['d']])
})

test('a task that did not ask for logprobs has none, and neither has one whose model has none, or no tokens', () => {
  const logprobs = new FlushLogprobs([
    [7, ['null', 'null']],
    [9, ['x'].map(json)],
  ])

  assert.deepEqual([logprobs.take(8, 1), logprobs.take(7, 2), logprobs.take(9, 0)], [null, null, null])
})

const tokensOf = (events: TaskEvent[]): TokenEvent[] => events.filter((event) => event.type === 'token')

const oneByOne = (events: TaskEvent[]): TokenLogprob[] => tokensOf(events).flatMap(({ logprobs = [] }) => logprobs)

test('every token of the embedded model has its logprob and as many alternatives as were asked for', async (t) => {
  const gateway = await openGateway(t, { models: [{ source: onnxSource(), workers: 1 }] })
  const record = await submit(gateway, aSpec({ text: 'Tell me a story. 😀', maxTokens: 40, topLogprobs: 2 }))

  const events = await whole(gateway, record)
  const [merged] = drain(gateway.attach(record, 2, () => {}))

  for (const { tokens, logprobs } of tokensOf(events)) assert.equal(logprobs?.length, tokens)
  const all = oneByOne(events)
  assert.equal(all.length, record.state.usage?.completion_tokens)
  assert.equal(all.map(({ bytes }) => Buffer.from(bytes).toString()).join(''), textOf(events))
  for (const { token, logprob, top_logprobs } of all) {
    assert.equal(top_logprobs.length, 2)
    // Greedy: the likeliest token was taken.
    assert.deepEqual([top_logprobs[0]?.token, top_logprobs[0]?.logprob], [token, logprob])
  }
  assert.ok(merged?.type === 'token' && (merged.logprobs?.length ?? 0) > 1)
  assert.deepEqual(merged.logprobs, all.slice(0, merged.tokens))
})

test('an answer that was paused has the logprobs of one that was not', async (t) => {
  const gateway = await openGateway(t, { models: [{ source: onnxSource(), workers: 1 }], maxInFlight: 1 })
  const spec = aSpec({
    text: 'Tell me a story about a fox.',
    maxTokens: 60,
    topLogprobs: 0,
    onDisconnect: { type: 'pause' },
  })
  const undisturbed = await whole(gateway, await submit(gateway, spec))

  const record = await submit(gateway, spec)
  const reader = gateway.attach(record, 0, () => {})
  await until('a token', () => record.log.textBytes > 0)
  gateway.detach(reader)
  await until('a pause', () => gateway.dispatchers[0]?.paused.size === 1)
  const paused = oneByOne(await whole(gateway, record))

  const names = (logprobs: TokenLogprob[]): string[] => logprobs.map(({ token }) => token)
  assert.deepEqual(names(paused), names(oneByOne(undisturbed)))
  // The same numbers, but for how a sum of another order is rounded.
  for (const [i, { logprob }] of oneByOne(undisturbed).entries()) {
    assert.ok(Math.abs(logprob - (paused[i]?.logprob ?? 0)) < 1e-3)
  }
})

test('a scripted model has no logprobs to give, and answers all the same', async (t) => {
  const gateway = await openGateway(t)

  const events = await whole(gateway, await submit(gateway, script({ tokens: 5 }, { topLogprobs: 3, stop: ['w9'] })))

  assert.equal(textOf(events), words(5))
  assert.deepEqual(oneByOne(events), [])
})

function drain(reader: Reader): TaskEvent[] {
  const events: TaskEvent[] = []
  for (let entry = reader.next(32_768); entry; entry = reader.next(32_768)) events.push(entry.event)
  return events
}
