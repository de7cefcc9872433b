import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { RejoinError } from '../../src/core/errors.js'
import type { TaskSpec } from '../../src/core/task.js'
import { parseJson, parseTaskRequest } from '../../src/wire/request.js'
import { anyText } from './texts.js'

const SEED = 4711
const parse = (value: unknown): TaskSpec => parseTaskRequest(value, () => SEED)

/** What the request is refused with; a defect of any other kind goes through and fails the test. */
const refusal = (value: unknown): { code: string; param: string | null } => {
  try {
    parse(value)
  } catch (error) {
    if (!(error instanceof RejoinError)) throw error
    return { code: error.code, param: error.param }
  }
  throw new Error(`accepted: ${JSON.stringify(value)}`)
}

const DAY_MS = 86_400_000
const number = (min: number, max: number): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true })
/** (0, max] */
const above0 = (max: number): fc.Arbitrary<number> => fc.double({ min: 0, minExcluded: true, max, noNaN: true })
const text = (min: number, max: number): fc.Arbitrary<string> =>
  anyText().filter((text) => text.length >= min && text.length <= max)

const VALID_FIELDS = {
  model: text(1, 200),
  max_tokens: fc.integer({ min: 1, max: 1_000_000 }),
  temperature: number(0, 5),
  top_p: above0(1),
  top_k: fc.integer({ min: 0, max: 1_000_000 }),
  min_p: number(0, 1),
  repetition_penalty: above0(10),
  presence_penalty: number(-2, 2),
  frequency_penalty: number(-2, 2),
  logit_bias: fc.dictionary(fc.nat(999_999_999).map(String), number(-100, 100), { maxKeys: 300 }),
  seed: fc.maxSafeInteger(),
  stop: fc.array(text(1, 256), { maxLength: 8 }),
  logprobs: fc.oneof(fc.boolean(), fc.nat(20)),
  n: fc.constant(1),
  priority: fc.integer({ min: 0, max: 9 }),
  deadline_ms: fc.integer({ min: 1, max: 7 * DAY_MS }),
  max_wait_ms: fc.integer({ min: 0, max: 7 * DAY_MS }),
  on_disconnect: fc.oneof(
    fc.constantFrom('continue', 'pause', 'cancel'),
    fc.record({ cancel_after_ms: fc.integer({ min: 1, max: 7 * DAY_MS }) }),
  ),
  webhook: fc.constantFrom({ url: 'https://example.com/hook?a=b' }, { url: 'http://127.0.0.1:9000/' }),
  metadata: fc.dictionary(text(1, 64), text(0, 512), { maxKeys: 16 }),
}
const messages = fc.array(
  fc.record({ role: fc.constantFrom('system', 'developer', 'user', 'assistant'), content: anyText() }),
  { minLength: 1, maxLength: 5 },
)
const question = fc.oneof(fc.record({ prompt: anyText() }), fc.record({ messages }))
const validRequest = fc
  .tuple(question, fc.record(VALID_FIELDS, { requiredKeys: [] }))
  .map(([question, fields]) => ({ ...question, ...fields }) as Record<string, unknown>)

describe('the request checker', () => {
  test('accepts every valid request, and the task has its values', () => {
    const property = fc.property(validRequest, (request) => {
      const spec = parse(JSON.parse(JSON.stringify(request)))

      const { prompt, messages } = request
      const sampling = {
        ...('temperature' in request ? { temperature: zeroed(request.temperature) } : {}),
        ...('top_p' in request ? { topP: request.top_p } : {}),
        ...('top_k' in request ? { topK: request.top_k } : {}),
        ...('min_p' in request ? { minP: zeroed(request.min_p) } : {}),
        ...('repetition_penalty' in request ? { repetitionPenalty: request.repetition_penalty } : {}),
        ...('presence_penalty' in request ? { presencePenalty: zeroed(request.presence_penalty) } : {}),
        ...('frequency_penalty' in request ? { frequencyPenalty: zeroed(request.frequency_penalty) } : {}),
        ...('logit_bias' in request ? { logitBias: biases(request.logit_bias as Record<string, number>) } : {}),
        seed: request.seed ?? SEED,
      }
      const expected = {
        ...('model' in request ? { model: request.model } : {}),
        prompt: prompt === undefined ? { type: 'chat', messages } : { type: 'text', text: prompt },
        maxTokens: request.max_tokens ?? null,
        sampling,
        stop: request.stop ?? [],
        topLogprobs: request.logprobs === true ? 0 : request.logprobs === false ? null : (request.logprobs ?? null),
        onDisconnect: onDisconnect(request.on_disconnect as OnDisconnect),
        webhook: request.webhook ?? null,
        priority: request.priority ?? 5,
        deadlineMs: request.deadline_ms ?? null,
        maxWaitMs: request.max_wait_ms ?? null,
        metadata: request.metadata ?? {},
      }
      assert.deepEqual(JSON.parse(JSON.stringify(spec)), JSON.parse(JSON.stringify(expected)))
    })

    fc.assert(property, { numRuns: 500 })
  })

  test('answers any JSON value with a task or a refusal, and nothing else', () => {
    const names = fc.constantFrom(...Object.keys(VALID_FIELDS), 'prompt', 'messages', '__proto__', 'content')
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(fc.oneof(names, anyText(3)), fc.oneof(fc.jsonValue(), anyText(), fc.constant({}), messages)),
    )
    const property = fc.property(anything, (value) => {
      let error: unknown = null
      try {
        parse(JSON.parse(JSON.stringify(value)))
      } catch (thrown) {
        error = thrown
      }

      assert.ok(error === null || error instanceof RejoinError, `threw ${error}`)
    })

    fc.assert(property, { numRuns: 1000 })
  })

  test('refuses a field that the protocol does not have, by its name', () => {
    const known = new Set([...Object.keys(VALID_FIELDS), 'prompt', 'messages'])
    const unknown = fc.oneof(anyText(), fc.constantFrom('__proto__', 'constructor', 'toString', 'max_token', 'a/b~c~1'))
    const property = fc.property(
      validRequest,
      unknown.filter((name) => !known.has(name)),
      fc.jsonValue(),
      (request, name, value) => {
        const body = `{${JSON.stringify(name)}:${JSON.stringify(value)},${JSON.stringify(request).slice(1)}`

        const refused = refusal(JSON.parse(body))

        // JSON.parse makes every name well formed only where the text was; what it made is what is named.
        assert.deepEqual(refused, { code: 'unknown_field', param: name })
      },
    )

    fc.assert(property, { numRuns: 500 })
  })

  const WRONG: [field: string, values: unknown[]][] = [
    ['model', ['', 'm'.repeat(201), 1, null, ['default']]],
    ['max_tokens', [0, -1, 1_000_001, 1.5, '10', null, true]],
    ['temperature', [-0.1, 5.1, '1', null, {}]],
    ['top_p', [0, -1, 1.1, '0.5', null]],
    ['top_k', [-1, 0.5, 1_000_001, '3', null]],
    ['min_p', [-0.1, 1.1, '0', null]],
    ['repetition_penalty', [0, -1, 10.1, '1', null]],
    ['seed', [0.5, 2 ** 53, -(2 ** 53), '1', null]],
    ['stop', ['\n', null, {}, Array(9).fill('x')]],
    ['stop.0', [[''], [1], ['s'.repeat(257)], [null]]],
    ['presence_penalty', [-2.1, 2.1, '1', null]],
    ['frequency_penalty', [-2.1, 2.1, '1', null]],
    ['logit_bias', ['x', 1, null, [1], { '-1': 1 }, { '01': 1 }, { '1e3': 1 }, { x: 1 }, { '1000000000': 1 }]],
    ['logit_bias.7', [{ 7: 100.1 }, { 7: -100.1 }, { 7: '1' }, { 7: null }]],
    ['logprobs', [-1, 21, 1.5, 'true', null, []]],
    ['n', [0, 1.5, '1', null]],
    ['priority', [-1, 10, 0.5, '5', null]],
    ['deadline_ms', [0, -1, 7 * DAY_MS + 1, 1.5, '1', null]],
    ['max_wait_ms', [-1, 7 * DAY_MS + 1, 0.5, '1', null]],
    ['on_disconnect', ['stop', 1, null, [], { cancel_after_ms: 0 }, { cancel_after_ms: 7 * DAY_MS + 1 }]],
    ['webhook', ['http://example.com', 1, null]],
    ['webhook.url', [{ url: '' }, { url: 1 }, {}, { url: 'u'.repeat(2049) }]],
    ['metadata', ['x', 1, null, [], Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v']))]],
    ['metadata.k', [{ k: 1 }, { k: null }, { k: {} }, { k: 'v'.repeat(513) }]],
  ]
  for (const [param, values] of WRONG) {
    test(`refuses \`${param}\` of a wrong type or out of its range, by its name`, () => {
      for (const value of values) {
        const field = param.split('.')[0] as string

        const refused = refusal({ prompt: 'x', [field]: value })

        assert.deepEqual(refused, { code: 'invalid_request', param }, JSON.stringify(value))
      }
    })
  }

  test('refuses a prompt or messages of a wrong form, by the place', () => {
    const refused = [
      refusal({ prompt: 1 }),
      refusal({ prompt: null }),
      refusal({ messages: 'x' }),
      refusal({ messages: [] }),
      refusal({ messages: Array(1001).fill({ role: 'user', content: '' }) }),
      refusal({ messages: [{ role: 'user', content: 'x' }, 'x'] }),
      refusal({ messages: [{ role: 'robot', content: 'x' }] }),
      refusal({ messages: [{ role: 'user' }] }),
      refusal({ messages: [{ content: 'x' }] }),
      refusal({ messages: [{ role: 'user', content: null }] }),
      refusal({ messages: [{ role: 'user', content: 'x', name: 'y' }] }),
    ]

    assert.deepEqual(refused, [
      { code: 'invalid_request', param: 'prompt' },
      { code: 'invalid_request', param: 'prompt' },
      { code: 'invalid_request', param: 'messages' },
      { code: 'invalid_request', param: 'messages' },
      { code: 'invalid_request', param: 'messages' },
      { code: 'invalid_request', param: 'messages.1' },
      { code: 'invalid_request', param: 'messages.0.role' },
      { code: 'invalid_request', param: 'messages.0.content' },
      { code: 'invalid_request', param: 'messages.0.role' },
      { code: 'invalid_request', param: 'messages.0.content' },
      { code: 'unknown_field', param: 'messages.0.name' },
    ])
  })

  test('takes exactly one of prompt and messages', () => {
    const user = { role: 'user', content: 'x' }

    assert.deepEqual(refusal({}), { code: 'invalid_request', param: 'prompt' })
    assert.deepEqual(refusal({ prompt: 'x', messages: [user] }), { code: 'invalid_request', param: 'prompt' })
    assert.deepEqual(parse({ prompt: '' }).prompt, { type: 'text', text: '' })
    assert.deepEqual(parse({ messages: [user] }).prompt, { type: 'chat', messages: [user] })
  })

  test('refuses a metadata key that is empty or over 64 characters', () => {
    const long = 'k'.repeat(65)

    assert.equal(refusal({ prompt: 'x', metadata: { '': 'v' } }).code, 'invalid_request')
    assert.equal(refusal({ prompt: 'x', metadata: { [long]: 'v' } }).code, 'invalid_request')
    assert.equal(refusal({ prompt: 'x', metadata: { [long]: { not: 'a string' } } }).code, 'invalid_request')
  })

  test('refuses by name what it cannot honour yet', () => {
    assert.deepEqual(refusal({ prompt: 'x', n: 2 }), { code: 'unsupported_field', param: 'n' })
  })

  test('takes a webhook with a whole http or https URL, without a password, and no other', () => {
    const wrong = [
      'example.com',
      '/hook',
      'ftp://example.com/',
      'http://me@example.com/',
      'http://:x@example.com/',
      'http://',
    ]

    assert.deepEqual(parse({ prompt: 'x', webhook: { url: 'https://Example.com/a?b=c' } }).webhook, {
      url: 'https://example.com/a?b=c',
    })
    assert.equal(parse({ prompt: 'x' }).webhook, null)
    for (const url of wrong) {
      assert.deepEqual(refusal({ prompt: 'x', webhook: { url } }), { code: 'invalid_request', param: 'webhook.url' })
    }
  })

  test('tells who asks for several answers how to get them', () => {
    assert.throws(() => parse({ prompt: 'x', n: 3 }), {
      message: '`n` must be 1, got 3: one task is one answer; make 3 tasks',
    })
  })

  test('says in words what may stand where there are several forms', () => {
    assert.throws(() => parse({ prompt: 'x', logprobs: 21 }), {
      message: '`logprobs` must be true, false or a whole number from 0 to 20, got 21',
    })
    assert.throws(() => parse({ prompt: 'x', on_disconnect: 'stop' }), {
      message: '`on_disconnect` must be "continue", "cancel", "pause" or {"cancel_after_ms": MS}, got "stop"',
    })
  })

  test('takes `logprobs` as a yes without alternatives, a no, or a number of them', () => {
    const taken = [true, false, 0, 20].map((logprobs) => parse({ prompt: 'x', logprobs }).topLogprobs)

    assert.deepEqual(taken, [0, null, 0, 20])
  })

  test('refuses an unknown field of `on_disconnect`, and says so in words that fit', () => {
    assert.throws(() => parse({ prompt: 'x', on_disconnect: { after_ms: 1 } }), {
      name: 'RejoinError',
      message: /`on_disconnect(\.after_ms)?` (must be "continue"|is not a field)/,
    })
  })

  test('is not confused by a deeply nested value', () => {
    const nested = (open: string, close: string): unknown =>
      parseJson(Buffer.from(`{"prompt":${open.repeat(200_000)}1${close.repeat(200_000)}}`))

    assert.deepEqual(refusal(nested('[', ']')), { code: 'invalid_request', param: 'prompt' })
    assert.deepEqual(refusal(nested('{"a":', '}')), { code: 'invalid_request', param: 'prompt' })
  })

  test('leaves prototypes alone', () => {
    const body = '{"prompt":"x","metadata":{"__proto__":"own","constructor":"too"}}'

    const { metadata } = parse(JSON.parse(body))

    assert.equal(JSON.stringify(metadata), '{"__proto__":"own","constructor":"too"}')
    assert.equal(({} as Record<string, unknown>).own, undefined)
    assert.deepEqual(refusal(JSON.parse('{"prompt":"x","__proto__":{"priority":9}}')), {
      code: 'unknown_field',
      param: '__proto__',
    })
  })

  test('shows at most 80 characters of a wrong value', () => {
    assert.throws(
      () => parse({ prompt: 'x', temperature: 'y'.repeat(100_000) }),
      ({ message }: Error) => message.length < 200,
    )
  })
})

describe('the JSON reader', () => {
  test('gives back what was written', () => {
    const property = fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(parseJson(Buffer.from(JSON.stringify(value))), JSON.parse(JSON.stringify(value)))
    })

    fc.assert(property)
  })

  test('reads only the bytes it was given', () => {
    const bytes = new Uint8Array(Buffer.from('xx{"a":1}yy')).subarray(2, 9)

    assert.deepEqual(parseJson(bytes), { a: 1 })
  })

  test('refuses malformed JSON and invalid UTF-8', () => {
    const malformed = ['', '{', '{"a":1,}', "{'a':1}", 'undefined', '{"a":1}{', 'NaN', '"\n"'].map((text) =>
      Buffer.from(text),
    )
    const notUtf8 = [
      [0x22, 0xff, 0x22],
      [0x22, 0xc0, 0x80, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xf0, 0x9f, 0x98, 0x22],
    ].map((bytes) => Buffer.from(bytes))

    for (const bytes of [...malformed, ...notUtf8]) {
      assert.throws(() => parseJson(bytes), { name: 'RejoinError', code: 'invalid_json' }, bytes.toString('hex'))
    }
  })

  test('gives any bytes a value or a refusal, and nothing else', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        parseJson(bytes)
      } catch (error) {
        assert.ok(error instanceof RejoinError && error.code === 'invalid_json')
      }
    })

    fc.assert(property, { numRuns: 1000 })
  })
})

/** As the checker makes them: integer keys of an object are in ascending order. */
const biases = (given: Record<string, number>): [number, unknown][] =>
  Object.keys(given)
    .map(Number)
    .sort((a, b) => a - b)
    .map((id) => [id, zeroed(given[id])])

type OnDisconnect = 'continue' | 'pause' | 'cancel' | { cancel_after_ms: number } | undefined

function onDisconnect(given: OnDisconnect = 'continue'): object {
  if (typeof given === 'object') return { type: 'cancel', afterMs: given.cancel_after_ms }
  return given === 'cancel' ? { type: 'cancel', afterMs: null } : { type: given }
}

/** JSON has no -0. */
const zeroed = (value: unknown): unknown => (value === 0 ? 0 : value)

test('of any number of unknown fields one is named, and what is over its bound is not looked into', () => {
  const unknown = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`k${index}`, 1]))

  assert.deepEqual(refusal({ prompt: 'x', ...unknown }), { code: 'unknown_field', param: 'k0' })
  assert.deepEqual(refusal({ prompt: 'x', metadata: unknown }), { code: 'invalid_request', param: 'metadata' })
  assert.deepEqual(refusal({ prompt: 'x', logit_bias: unknown }), { code: 'invalid_request', param: 'logit_bias' })
  assert.deepEqual(refusal({ prompt: 'x', stop: Array(50_000).fill(1) }), { code: 'invalid_request', param: 'stop' })
  assert.deepEqual(refusal({ messages: Array(50_000).fill(1) }), { code: 'invalid_request', param: 'messages' })
})
