import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FlushLogprobs } from '../../src/gateway/logprobs.js'

const json = (token: string): string => JSON.stringify({ token, bytes: [], logprob: -1, top_logprobs: [] })

const names = (logprobs: FlushLogprobs, handle: number, tokens: number): string[] | undefined =>
  logprobs.take(handle, tokens)?.map(({ token }) => token)

test('each task of a flush gets its own logprobs, in the order of its tokens', () => {
  const logprobs = new FlushLogprobs([
    [7, ['a', 'b', 'c'].map(json)],
    [9, ['x'].map(json)],
  ])

  const taken = [names(logprobs, 7, 1), names(logprobs, 9, 1), names(logprobs, 7, 2), names(logprobs, 7, 0)]

  assert.deepEqual(taken, [['a'], ['x'], ['b', 'c'], []])
})

test('a task that did not ask for logprobs has none', () => {
  const logprobs = new FlushLogprobs([[7, ['a'].map(json)]])

  assert.equal(logprobs.take(8, 1), null)
})
