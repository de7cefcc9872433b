import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { TokenLogprob } from '../../src/core/event.js'
import type { Generation } from '../../src/model/model.js'
import { OnnxModel } from '../../src/model/onnx.js'
import type { OnnxOptions } from '../../src/model/source.js'
import { answerOne, generation, MODEL_DIR, onnxSource } from './answer.js'

type Reference = { prompt: string; ids: number[]; greedy: number[] }

const reference: Reference[] = JSON.parse(readFileSync(join(MODEL_DIR, 'reference.json'), 'utf8'))
const REFERENCE_TOKENS = 96
const MIB = 1_048_576

const open = async (t: TestContext, options: Partial<OnnxOptions> = {}): Promise<OnnxModel> => {
  const model = await OnnxModel.load(onnxSource(MODEL_DIR, options))
  t.after(() => model.close())
  return model
}

/** A prompt of so many tokens: four of them are the template’s and the first word’s. */
const promptOf = (tokens: number, digit = '1'): string => `Hi${digit.repeat(tokens - 4)}`
const endless = (text: string): Generation =>
  generation(text, { sampling: { seed: 1, temperature: 0, logitBias: [[0, -100]] } })

/** What each slot says in one step, as the numbers of its tokens. */
const said = async (model: OnnxModel): Promise<Record<number, number>> => {
  const counts: Record<number, number> = {}
  for (const { slot } of await model.step()) counts[slot] = (counts[slot] ?? 0) + 1
  return counts
}

/** Steps until a slot says its first token; the others must all say one in each of them. */
const stepsToFirst = async (model: OnnxModel, slot: number, others: number[]): Promise<number> => {
  for (let steps = 1; ; steps++) {
    const counts = await said(model)
    for (const other of others) assert.equal(counts[other], 1, `slot ${other} said nothing in step ${steps}`)
    if (counts[slot]) return steps
    assert.ok(steps < 100, 'no first token')
  }
}

describe('continuous batching', () => {
  test('a row’s greedy answer is the reference’s, whoever joins and leaves the batch beside it', async (t) => {
    const models = [
      await open(t, { slots: 5 }),
      await open(t, { slots: 5, prefillChunk: 7 }),
      await open(t, { slots: 5, prefixCacheBytes: 0 }),
    ]
    // At most so many steps between one that joins and the next; some are let go in the middle of their answer.
    const arrival = fc.record({ who: fc.nat(reference.length - 1), after: fc.nat(12), leavesAt: fc.option(fc.nat(40)) })
    const property = fc.asyncProperty(
      fc.constantFrom(...models),
      fc.array(arrival, { maxLength: 24 }),
      async (model, arrivals) => {
        const rows = new Map<number, { who: number; ids: number[]; leavesAt: number | null }>()
        const waiting = [...arrivals]
        let pause = 0
        while (waiting.length > 0 || rows.size > 0) {
          const next = waiting[0]
          if (next && rows.size < model.slots && pause-- <= 0) {
            waiting.shift()
            const { slot } = await model.admit(generation(reference[next.who]?.prompt as string))
            rows.set(slot, { ...next, ids: [] })
            pause = next.after
          }
          for (const { slot, id, end } of await model.step()) {
            const row = rows.get(slot)
            if (!row) continue
            if (id >= 0) row.ids.push(id)
            if (end === null && row.ids.length < Math.min(REFERENCE_TOKENS, row.leavesAt ?? REFERENCE_TOKENS)) continue
            assert.deepEqual(row.ids, reference[row.who]?.greedy.slice(0, row.ids.length))
            if (row.leavesAt === null) assert.equal(row.ids.length, reference[row.who]?.greedy.length)
            model.release(slot)
            rows.delete(slot)
          }
        }
        assert.equal(model.idleMs(), Number.POSITIVE_INFINITY)
      },
    )

    await fc.assert(property, { numRuns: 25 })
  })

  test('a long prompt takes no step from the streams that run', async (t) => {
    const model = await open(t, { prefillChunk: 64 })
    const running: number[] = []
    for (const { prompt } of reference.slice(0, 3)) running.push((await model.admit(endless(prompt))).slot)
    await model.step()

    const { slot, promptTokens } = await model.admit(endless(promptOf(400)))
    const steps = await stepsToFirst(model, slot, running)

    assert.equal(promptTokens, 400)
    // ceil(400 / 64)
    assert.equal(steps, 7)
    assert.deepEqual(Object.keys(await said(model)).length, 4)
  })

  test('a short prompt has its first token in the next step, beside 14 streams and behind a long prompt', async (t) => {
    const model = await open(t, { slots: 16 })
    const running: number[] = []
    for (let i = 0; i < 14; i++) running.push((await model.admit(endless(`${i}`))).slot)
    await stepsToFirst(model, running.at(-1) as number, [])

    const long = await model.admit(endless(promptOf(500)))
    await model.step()
    const short = await model.admit(endless('Hello!'))
    const steps = await stepsToFirst(model, short.slot, running)

    assert.equal(steps, 1)
    assert.ok((await stepsToFirst(model, long.slot, [...running, short.slot])) > 1)
  })

  test('long prompts are done in order of arrival, and short ones that keep coming do not starve them', async (t) => {
    const model = await open(t, { prefillChunk: 32, prefixCacheBytes: 0 })
    const first = await model.admit(endless(promptOf(300, '1')))
    const second = await model.admit(endless(promptOf(300, '2')))

    const firsts: number[] = []
    for (let step = 1; firsts.length < 2; step++) {
      assert.ok(step < 40, 'a long prompt starves')
      const { slot } = await model.admit(endless(`${step}`))
      for (const output of await model.step()) {
        if ([first.slot, second.slot].includes(output.slot) && !firsts.includes(output.slot)) firsts.push(output.slot)
      }
      model.release(slot)
    }

    assert.deepEqual(firsts, [first.slot, second.slot])
  })

  test('a row that leaves in the middle of its prompt frees its slot at once and changes nothing for the others', async (t) => {
    const model = await open(t, { slots: 2, prefillChunk: 16 })
    const { prompt, greedy } = reference[0] as Reference
    const { slot } = await model.admit(generation(prompt))
    const ids: number[] = []
    const step = async (): Promise<void> => {
      for (const output of await model.step()) if (output.slot === slot) ids.push(output.id)
    }

    for (let i = 0; i < 4; i++) {
      const other = await model.admit(endless(promptOf(300, `${i}`)))
      await step()
      await step()
      model.release(other.slot)
    }
    while (ids.length < 60) await step()

    assert.deepEqual(ids, greedy.slice(0, 60))
  })
})

describe('the prefix cache', () => {
  const turns = (...contents: string[]): Generation['prompt'] => ({
    type: 'chat',
    messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
  })

  /** `cachedTokens` of the first output, and the whole answer. */
  const ask = async (model: OnnxModel, prompt: Generation['prompt'], seed: number | null = null) => {
    const sampling = seed === null ? { seed: 1, temperature: 0 } : { seed, temperature: 0.8, topP: 0.95 }
    const { slot, promptTokens } = await model.admit({ ...generation('', { sampling }), prompt })
    const ids: number[] = []
    let cachedTokens: number | null = null
    let text = ''
    for (let end: unknown = null; end === null && ids.length < 60; ) {
      for (const output of await model.step()) {
        cachedTokens ??= output.cachedTokens ?? 0
        if (output.id >= 0) ids.push(output.id)
        text += output.text
        end = output.end
      }
    }
    model.release(slot)
    return { cachedTokens, promptTokens, ids, text }
  }

  test('the next turn of a chat computes what is new, and its answer is that of a model that remembers nothing', async (t) => {
    const model = await open(t)
    const forgetful = await open(t, { prefixCacheBytes: 0 })

    for (const seed of [null, 3, 4]) {
      const question = `Tell me a story about a fox who lost a kite. ${seed}`
      const first = await ask(model, turns(question), seed)
      const talk = turns(question, first.text, 'What did the fox do then?')
      const second = await ask(model, talk, seed)
      const again = await ask(model, talk, seed)
      const plain = await ask(forgetful, talk, seed)

      assert.equal(first.cachedTokens, 0)
      // The first prompt and its answer, in whole blocks of 16.
      const known = first.promptTokens + first.ids.length
      assert.equal(second.cachedTokens, known - (known % 16))
      assert.equal(again.cachedTokens, second.promptTokens - 1 - ((second.promptTokens - 1) % 16))
      assert.deepEqual(second.ids, plain.ids)
      assert.deepEqual(again.ids, plain.ids)
      assert.equal(plain.cachedTokens, 0)
    }
  })

  test('a long prompt goes on from its cached beginning, in pieces', async (t) => {
    const model = await open(t, { prefillChunk: 32 })
    const forgetful = await open(t, { prefixCacheBytes: 0 })
    const beginning = promptOf(300)

    await answerOne(model, generation(beginning, { maxTokens: 2 }))
    const prompt = turns(`${beginning}${'2'.repeat(150)}`)
    const answer = await ask(model, prompt)
    const plain = await ask(forgetful, prompt)

    assert.equal(answer.cachedTokens, 288)
    assert.deepEqual(answer.ids, plain.ids)
  })

  test('what is computed of a long prompt is kept when its row leaves in the middle', async (t) => {
    const model = await open(t, { prefillChunk: 32 })
    const { slot } = await model.admit(endless(promptOf(300)))
    for (let piece = 0; piece < 5; piece++) await model.step()

    model.release(slot)
    const answer = await ask(model, turns(promptOf(300)))

    // 5 x 32
    assert.equal(answer.cachedTokens, 160)
  })

  test('of an answer that goes on, only the prompt counts as cached', async (t) => {
    const model = await open(t)
    const { prompt } = reference[0] as Reference
    const whole = await answerOne(model, generation(prompt, { maxTokens: 96 }))

    const { promptTokens } = await model.admit(generation(prompt, { recorded: whole.ids.slice(0, 90) }))
    const [output] = await model.step()

    assert.equal(output?.cachedTokens, promptTokens)
  })

  test('it holds no more than its bound: the beginning that was used least recently goes first', async (t) => {
    // 4,096 bytes a token here: four blocks of 16.
    const model = await open(t, { prefixCacheBytes: 0.25 * MIB })
    const cached = async (digit: string): Promise<number | null> =>
      (await ask(model, turns(promptOf(45, digit)))).cachedTokens

    assert.deepEqual([await cached('1'), await cached('1')], [0, 32])
    await cached('2')
    await cached('3')
    assert.equal(await cached('1'), 0)
  })
})

describe('logprobs', () => {
  const tokens = async (model: OnnxModel, fields: Partial<Generation>): Promise<TokenLogprob[]> => {
    const { slot } = await model.admit(generation('What color is the sky?', fields))
    const all: TokenLogprob[] = []
    for (let end: unknown = null; end === null; ) {
      for (const output of await model.step()) {
        if (output.logprobs) all.push(output.logprobs)
        end = output.end
      }
    }
    model.release(slot)
    return all
  }

  test('every token comes with its own and the likeliest ones’, by the model alone', async (t) => {
    const model = await open(t)

    const greedy = await tokens(model, { topLogprobs: 3 })
    const biased = await tokens(model, { topLogprobs: 3, sampling: { seed: 1, temperature: 0, presencePenalty: 2 } })
    const plain = await tokens(model, { topLogprobs: 0 })

    assert.equal(greedy.map(({ token }) => token).join(''), 'The sky is blue.')
    for (const { token, bytes, logprob, top_logprobs: top } of greedy) {
      assert.equal(Buffer.from(bytes).toString(), token)
      assert.deepEqual(top[0], { token, bytes, logprob })
      assert.equal(top.length, 3)
      const mass = top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)
      assert.ok(mass > 0 && mass <= 1.000001, `${mass}`)
    }
    assert.deepEqual(biased[0], greedy[0])
    assert.deepEqual(
      plain,
      greedy.map((item) => ({ ...item, top_logprobs: [] })),
    )
  })

  test('a generation that did not ask has none', async (t) => {
    const model = await open(t)

    assert.deepEqual(await tokens(model, {}), [])
  })
})

test('a context that the memory bound cuts refuses a longer prompt with both numbers', async (t) => {
  // 4,096 bytes a token: 256 tokens for one row.
  const model = await open(t, { slots: 4, maxKvBytes: MIB, prefixCacheBytes: 0 })

  const { maxTokens } = await model.admit(generation(promptOf(200), { maxTokens: 1000 }))

  assert.deepEqual([model.slots, maxTokens], [1, 56])
  await assert.rejects(model.admit(generation(promptOf(256))), /all 1 slots are taken/)
  model.release(0)
  await assert.rejects(model.admit(generation(promptOf(256))), {
    code: 'prompt_too_long',
    message: 'the prompt has 256 tokens, but prompt and answer together have room for 256',
  })
})
