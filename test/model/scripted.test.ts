import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import type { Prompt } from '../../src/core/task.js'
import type { SlotOutput } from '../../src/model/model.js'
import { ScriptedModel } from '../../src/model/scripted.js'
import { answerAll, answerOne, generation, nextStep } from './answer.js'

const script = (fields: object): string => JSON.stringify(fields)

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

test('an empty script says 200 numbered words and stops', async () => {
  const model = new ScriptedModel({ slots: 1 })

  const answer = await answerOne(model, generation('{}'))

  assert.deepEqual(answer.ids, numbers(0, 200))
  assert.equal(
    answer.text,
    numbers(0, 200)
      .map((k) => `w${k} `)
      .join(''),
  )
  assert.equal(answer.end, 'stop')
  assert.deepEqual(answer.admission, { slot: 0, promptTokens: 1, maxTokens: 200 })
})

test('the script of a chat is its last user message', async () => {
  const model = new ScriptedModel({ slots: 1 })
  const prompt: Prompt = {
    type: 'chat',
    messages: [
      { role: 'user', content: 'not this one' },
      { role: 'user', content: '{"tokens": 2}' },
      { role: 'assistant', content: 'nor this one' },
    ],
  }

  const answer = await answerOne(model, { ...generation(''), prompt })

  assert.equal(answer.text, 'w0 w1 ')
  assert.equal(answer.admission.promptTokens, 2)
})

test('the end comes with the last token, and an answer without tokens is an end alone', async () => {
  const model = new ScriptedModel({ slots: 2 })
  await model.admit(generation('{"tokens": 1}'))
  await model.admit(generation('{"tokens": 0}'))

  const outputs = await model.step()

  assert.deepEqual(outputs, [
    { slot: 0, id: 0, text: 'w0 ', end: 'stop' },
    { slot: 1, id: -1, text: '', end: 'stop' },
  ])
  assert.deepEqual(await model.step(), [])
  assert.equal(model.idleMs(), Number.POSITIVE_INFINITY)
})

test('an answer goes on after its recorded tokens, and ends at once when it has them all', async () => {
  const model = new ScriptedModel({ slots: 1 })
  const text = 'a whole answer, cut into twelve'

  const whole = await answerOne(model, generation(script({ tokens: 12, text })))
  const rest = await answerOne(model, generation(script({ tokens: 12, text }), { recorded: numbers(0, 5) }))
  const none = await answerOne(model, generation(script({ tokens: 12, text }), { recorded: numbers(0, 12) }))

  assert.equal(whole.text, text)
  assert.deepEqual(rest.ids, numbers(5, 12))
  assert.equal(rest.text, text.slice(Math.floor((5 * text.length) / 12)))
  assert.deepEqual({ ids: none.ids, text: none.text, end: none.end }, { ids: [], text: '', end: 'stop' })
})

test('max_tokens cuts a script short', async () => {
  const model = new ScriptedModel({ slots: 1 })

  const cut = await answerOne(model, generation('{"tokens": 10}', { maxTokens: 3 }))
  const uncut = await answerOne(model, generation('{"tokens": 3}', { maxTokens: 3 }))

  assert.deepEqual([cut.text, cut.end, cut.admission.maxTokens], ['w0 w1 w2 ', 'length', 3])
  assert.deepEqual([uncut.text, uncut.end], ['w0 w1 w2 ', 'stop'])
})

test('slices put together are the text, near-equal, and never half a character', async () => {
  const model = new ScriptedModel({ slots: 1 })
  const property = fc.asyncProperty(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.integer({ min: 1, max: 60 }),
    fc.nat(60),
    async (text, tokens, cut) => {
      const slices: string[] = []
      await model.admit(generation(script({ tokens, text })))
      for (let ended = false; !ended; ) {
        for (const output of await model.step()) {
          slices.push(output.text)
          ended = output.end !== null
        }
      }
      model.release(0)
      const resumed = await answerOne(model, generation(script({ tokens, text }), { recorded: numbers(0, cut) }))

      assert.equal(slices.join(''), text)
      assert.equal(resumed.text, slices.slice(cut).join(''))
      const sizes = slices.map((slice) => [...slice].length)
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
      for (const slice of slices) assert.doesNotMatch(slice, /^[\uDC00-\uDFFF]|[\uD800-\uDBFF]$/)
    },
  )

  await fc.assert(property, { numRuns: 200 })
})

test('tokens with a rate fall due one interval apart, the first at once, and say when', async () => {
  const model = new ScriptedModel({ slots: 1 })
  const startedUs = Number(process.hrtime.bigint() / 1000n)

  const { text } = await answerOne(model, generation('{"tokens": 6, "rate": 200, "stamp": true}'))

  const stamps = [...text.matchAll(/i=(\d+),t=(\d+);/g)].map(([, i, t]) => ({ i: Number(i), t: Number(t) }))
  assert.deepEqual(
    stamps.map(({ i }) => i),
    numbers(0, 6),
  )
  const first = stamps[0]?.t ?? 0
  assert.ok(first - startedUs >= -1 && first - startedUs < 50_000)
  for (const { i, t } of stamps) assert.ok(Math.abs(t - first - i * 5_000) <= 1)
})

test('a loop that comes too early finds nothing to say', async () => {
  const model = new ScriptedModel({ slots: 1 })
  await model.admit(generation('{"rate": 0.001}'))

  const first = await model.step()
  const second = await model.step()

  assert.deepEqual(
    first.map(({ id }) => id),
    [0],
  )
  assert.deepEqual(second, [])
  assert.ok(model.idleMs() > 900_000)
})

test('a loop that comes too late gets several tokens of a slot, but not without bound', async () => {
  const model = new ScriptedModel({ slots: 2 })
  await model.admit(generation('{"tokens": 1000, "rate": 100000}'))
  await model.admit(generation('{"tokens": 3, "rate": 100000}'))
  const until = performance.now() + 5
  while (performance.now() < until) {}

  const outputs = await model.step()

  assert.deepEqual(
    outputs.filter(({ slot }) => slot === 0).map(({ id }) => id),
    numbers(0, 64),
  )
  assert.deepEqual(
    outputs.filter(({ slot }) => slot === 1).map(({ id }) => id),
    [0, 1, 2],
  )
  assert.equal(model.idleMs(), 0)
})

test('many answers with and without a rate share the slots and lose nothing', async () => {
  const model = new ScriptedModel({ slots: 50 })
  const scripts = numbers(0, 200).map((i) =>
    generation(script({ tokens: i % 40, rate: [0, 500, 5000, 100_000][i % 4] })),
  )

  const answers = await answerAll(model, scripts)

  assert.deepEqual(
    answers.map(({ ids }) => ids.length),
    numbers(0, 200).map((i) => i % 40),
  )
})

test('a released slot says nothing more and takes the next answer', async () => {
  const model = new ScriptedModel({ slots: 1 })
  await model.admit(generation('{"rate": 100000}'))
  await assert.rejects(model.admit(generation('{}')), /all 1 slots are taken/)

  model.release(0)

  assert.deepEqual(await model.step(), [])
  assert.equal((await model.admit(generation('{}'))).slot, 0)
})

test('a script with a mistake is refused by the name of the field', async () => {
  const model = new ScriptedModel({ slots: 1 })
  const mistakes: [string, RegExp][] = [
    ['Hello!', /must be a JSON object, got "Hello!"/],
    ['[1]', /must be a JSON object/],
    ['null', /must be a JSON object/],
    ['{"token": 1}', /unknown field `token`/],
    ['{"__proto__": 1}', /unknown field `__proto__`/],
    ['{"tokens": 1.5}', /`tokens` must be an integer from 0 to 1000000, got 1.5/],
    ['{"tokens": 1000001}', /`tokens`/],
    ['{"tokens": "5"}', /`tokens`.* got "5"/],
    ['{"rate": -1}', /`rate` must be a number from 0 to 100000, got -1/],
    ['{"rate": 100001}', /`rate`/],
    ['{"stamp": 1}', /`stamp`/],
    ['{"text": null}', /`text`/],
    ['{"crash_at": "never"}', /`crash_at`/],
    ['{"crash_at": [5, 5]}', /`crash_at`/],
    ['{"crash_at": [1, null]}', /`crash_at`/],
    ['{"hang_at": [3, 1]}', /`hang_at` must be a token number, an ascending list of them, or "always", got \[3,1\]/],
    ['{"hang_ms": -1}', /`hang_ms` must be a number from 0 to 86400000, got -1/],
    ['{"fail_at": -1}', /`fail_at` must be a token number, an ascending list of them, or "always", got -1/],
  ]

  for (const [text, message] of mistakes) {
    await assert.rejects(model.admit(generation(text)), { code: 'invalid_prompt', message }, text)
  }
  const noUser: Prompt = { type: 'chat', messages: [{ role: 'system', content: '{}' }] }
  await assert.rejects(model.admit({ ...generation(''), prompt: noUser }), { code: 'invalid_prompt' })
  assert.equal((await model.admit(generation('{}'))).slot, 0)
})

/** What a thread of its own said before it ended, and how it ended. */
const runInThread = async (text: string, recorded: number[]): Promise<{ ids: number[]; code: number }> => {
  const worker = new Worker(new URL('./scripted-worker.js', import.meta.url), {
    workerData: generation(text, { recorded }),
  })
  const ids: number[] = []
  worker.on('message', (outputs: SlotOutput[]) => ids.push(...outputs.map(({ id }) => id)))
  const [code] = (await once(worker, 'exit')) as [number]
  return { ids, code }
}

for (const rate of [0, 2000]) {
  test(`a script that crashes at some tokens dies once after each of them (rate ${rate})`, async () => {
    const text = script({ tokens: 10, rate, crash_at: [3, 6, 9] })

    const first = await runInThread(text, [])
    const second = await runInThread(text, numbers(0, 4))
    const third = await runInThread(text, numbers(0, 7))

    assert.deepEqual(first, { ids: [0, 1, 2, 3], code: 1 })
    assert.deepEqual(second, { ids: [4, 5, 6], code: 1 })
    assert.deepEqual(third, { ids: [7, 8, 9], code: 0 })
  })
}

test('a script that always crashes says nothing in any attempt', async () => {
  assert.deepEqual(await runInThread('{"crash_at": "always"}', []), { ids: [], code: 1 })
  assert.deepEqual(await runInThread('{"crash_at": "always"}', [0, 1]), { ids: [], code: 1 })
})

test('the loop has a moment to post a token before the crash that follows it', async () => {
  let exits = 0
  const model = new ScriptedModel({ slots: 2, exit: () => exits++ })
  await model.admit(generation('{"crash_at": 0}'))
  const startedAt = performance.now()

  const withToken = await model.step()
  const due = await nextStep(model)
  const tookMs = performance.now() - startedAt
  const exitsWhenDue = exits
  const withCrash = await nextStep(model)

  assert.deepEqual(withToken, [{ slot: 0, id: 0, text: 'w0 ', end: null }])
  // Time has passed, so the loop posts after this step whatever it has gathered.
  assert.deepEqual([due, exitsWhenDue], [[], 0])
  assert.ok(tookMs > 4)
  assert.deepEqual([withCrash, exits], [[], 1])
})

test('a crash goes with its slot', async () => {
  let exits = 0
  const model = new ScriptedModel({ slots: 1, exit: () => exits++ })
  await model.admit(generation('{"crash_at": "always"}'))

  model.release(0)
  await answerOne(model, generation('{"tokens": 3}'))

  assert.equal(exits, 0)
})

for (const rate of [0, 2000]) {
  test(`a script that fails at some tokens fails once after each of them, alone (rate ${rate})`, async () => {
    const model = new ScriptedModel({ slots: 2 })
    const text = script({ tokens: 10, rate, fail_at: [3, 6, 9] })
    const attempts = []

    for (const recorded of [[], numbers(0, 4), numbers(0, 7)]) {
      const [answer, beside] = await answerAll(model, [
        generation(text, { recorded }),
        generation(script({ tokens: 50, rate: 2000 })),
      ])
      attempts.push({ ids: answer?.ids, end: answer?.end, beside: beside?.end })
    }

    assert.deepEqual(attempts, [
      { ids: [0, 1, 2, 3], end: 'failed', beside: 'stop' },
      { ids: [4, 5, 6], end: 'failed', beside: 'stop' },
      { ids: [7, 8, 9], end: 'stop', beside: 'stop' },
    ])
  })
}

test('a script that always fails says nothing but that', async () => {
  const model = new ScriptedModel({ slots: 1 })
  await model.admit(generation('{"fail_at": "always"}', { recorded: [0, 1] }))

  const outputs = [...(await nextStep(model)), ...(await nextStep(model))]

  const error = { code: 'model_failed', message: 'the script fails at token 2' }
  assert.deepEqual(outputs, [{ slot: 0, id: -1, text: '', end: 'failed', error }])
  assert.equal(model.idleMs(), Number.POSITIVE_INFINITY)
})

test('of what befalls a script, the first comes first', async () => {
  const model = new ScriptedModel({ slots: 1, exit: () => assert.fail('it crashed') })

  const answer = await answerOne(
    model,
    generation('{"tokens": 9, "crash_at": [0, 5], "fail_at": 3}', { recorded: [0] }),
  )

  assert.deepEqual([answer.ids, answer.end], [[1, 2, 3], 'failed'])
})

test('a script that hangs blocks its thread after the token, once, and then goes on', async () => {
  const model = new ScriptedModel({ slots: 1 })
  const startedAt = performance.now()

  const first = await answerOne(model, generation('{"tokens": 6, "hang_at": [2, 4], "hang_ms": 60}'))
  const tookMs = performance.now() - startedAt
  const goneOn = await answerOne(
    model,
    generation('{"tokens": 6, "hang_at": 2, "hang_ms": 86400000}', { recorded: numbers(0, 3) }),
  )

  assert.deepEqual([first.ids, first.end], [numbers(0, 6), 'stop'])
  assert.ok(tookMs >= 119, `${tookMs}`)
  assert.deepEqual([goneOn.ids, goneOn.end], [[3, 4, 5], 'stop'])
})
