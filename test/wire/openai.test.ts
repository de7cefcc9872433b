import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Entry } from '../../src/core/entry.js'
import { RejoinError } from '../../src/core/errors.js'
import type { EventBody, TaskEvent } from '../../src/core/event.js'
import { newTaskId } from '../../src/core/id.js'
import { TaskState } from '../../src/core/state.js'
import type { Task } from '../../src/core/task.js'
import { parseChatRequest, parseCompletionRequest } from '../../src/wire/openai/completion-request.js'
import { parseEmbeddingsRequest } from '../../src/wire/openai/embeddings.js'
import { openaiId, taskOfId } from '../../src/wire/openai/ids.js'
import { ResponseView } from '../../src/wire/openai/response.js'
import { lastNumber, logPosition, ResponseEvents } from '../../src/wire/openai/response-events.js'
import { parseResponseRequest } from '../../src/wire/openai/response-request.js'
import { parseUiChatRequest } from '../../src/wire/ui-message.js'
import { anyText } from './texts.js'

const seed = (): number => 1
const absent = { newSeed: seed, onDisconnect: { type: 'continue' } } as const

describe('the requests of other protocols', () => {
  const part = fc.record({ type: fc.constantFrom('text', 'input_text', 'image_url'), text: anyText() })
  const content = fc.oneof(anyText(), fc.array(fc.oneof(part, fc.jsonValue()), { maxLength: 3 }), fc.jsonValue())
  const message = fc.record({ role: fc.constantFrom('user', 'assistant', 'tool'), content, parts: content })
  const names = fc.constantFrom(
    ...['model', 'messages', 'input', 'prompt', 'id', 'stream', 'stream_options', 'tools', 'n', 'stop', 'metadata'],
    ...['include', 'text', 'reasoning', 'logprobs', 'top_logprobs', 'max_tokens', '__proto__', 'constructor'],
  )
  const value = fc.oneof(fc.jsonValue(), anyText(), fc.array(message, { maxLength: 3 }), fc.constant(true))
  const anything = fc.oneof(fc.jsonValue(), fc.dictionary(fc.oneof(names, anyText(3)), value))

  const PARSERS = {
    'a chat completion': (given: unknown) => parseChatRequest(given, absent),
    'a completion': (given: unknown) => parseCompletionRequest(given, absent),
    'a response': (given: unknown) => parseResponseRequest(given, absent),
    'an AI SDK chat': (given: unknown) => parseUiChatRequest(given, seed),
    embeddings: (given: unknown) => parseEmbeddingsRequest(given),
  }

  for (const [what, parse] of Object.entries(PARSERS)) {
    test(`any JSON value is ${what} or a refusal, and nothing else`, () => {
      const property = fc.property(anything, (given) => {
        let error: unknown = null
        try {
          parse(JSON.parse(JSON.stringify(given)))
        } catch (thrown) {
          error = thrown
        }

        assert.ok(error === null || error instanceof RejoinError, `threw ${error}`)
      })

      fc.assert(property, { numRuns: 500 })
    })
  }
})

describe('the ids that OpenAI’s clients see', () => {
  test('name their task, and no other text does', () => {
    const task = newTaskId()

    assert.equal(taskOfId('resp_', openaiId('resp_', task)), task)
    for (const id of [task, openaiId('msg_', task), 'resp_', 'resp_x', `${openaiId('resp_', task)}x`]) {
      assert.equal(taskOfId('resp_', id), null)
    }
  })
})

/** The log of a task that was queued, perhaps started and retried, said these texts, and ended. */
const log = fc
  .record({
    texts: fc.array(anyText(), { maxLength: 12 }),
    progressAfter: fc.nat(12),
    retryAfter: fc.nat(12),
    started: fc.boolean(),
    end: fc.constantFrom<EventBody>(
      {
        type: 'completed',
        finish_reason: 'stop',
        usage: { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1 },
        timings: { queued_ms: 0, first_token_ms: 0, total_ms: 0 },
      },
      { type: 'failed', error: { code: 'model_failed', message: 'm' } },
      { type: 'canceled', by: 'client' },
    ),
  })
  .map(({ texts, progressAfter, retryAfter, started, end }): EventBody[] => {
    if (!started) return [{ type: 'queued', position: 0 }, end]
    const begun: EventBody[] = [
      { type: 'queued', position: 0 },
      { type: 'started', attempt: 1, model: 'm' },
    ]
    const said = texts.flatMap((text, at): EventBody[] => [
      { type: 'token', text, tokens: 1 },
      ...(at === progressAfter ? [{ type: 'progress', percent: 25 } as const] : []),
      ...(at === retryAfter
        ? [{ type: 'retrying', attempt: 2, reason: 'r' } as const, { type: 'started', attempt: 2, model: 'm' } as const]
        : []),
    ])
    return [...begun, ...said, end]
  })

describe('the stream of a response', () => {
  const id = newTaskId()
  const origin = {
    type: 'response',
    instructions: null,
    previous: null,
    store: true,
    background: true,
    maxOutputTokens: null,
    labels: {},
  } as const
  const spec = { ...parseResponseRequest({ input: 'x', background: true }, absent).spec, origin }
  const task = { id, model: 'm', createdAt: 1000, spec } as unknown as Task

  const streamed = (bodies: EventBody[], startingAfter: number): { number: number; json: string }[] => {
    const events = bodies.map((body, at): TaskEvent => ({ task: id, seq: at + 1, at: 1, ...body }))
    const state = new TaskState(task)
    for (const event of events) state.apply(event)
    const text = bodies.map((body) => (body.type === 'token' ? body.text : '')).join('')
    const told = { state, answer: () => ({ text, logprobs: null }) }
    const view = new ResponseView(task, origin, { temperature: 1, topP: 1 })
    const stream = new ResponseEvents(view, told, startingAfter)
    const after = logPosition(startingAfter, events.length)
    return events
      .filter(({ seq }) => seq > after)
      .flatMap((event) => stream.of(new Entry(event)))
      .map(({ json }) => ({ json, number: (JSON.parse(json) as { sequence_number: number }).sequence_number }))
  }

  test('has numbers that only grow, up to a last one that the log’s length tells', () => {
    const property = fc.property(log, (bodies) => {
      const numbers = streamed(bodies, -1).map(({ number }) => number)

      assert.ok(numbers.every((number, at) => number > (numbers[at - 1] ?? -1)))
      assert.deepEqual([numbers[0], numbers.at(-1)], [0, lastNumber(bodies.length)])
    })

    fc.assert(property)
  })

  test('goes on after every number with exactly what has a higher one', () => {
    const property = fc.property(log, (bodies) => {
      const whole = streamed(bodies, -1)

      for (let after = -1; after < lastNumber(bodies.length); after++) {
        assert.deepEqual(
          streamed(bodies, after),
          whole.filter(({ number }) => number > after),
        )
      }
    })

    fc.assert(property)
  })
})
