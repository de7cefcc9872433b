import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Sampling } from '../../src/core/task.js'
import { OnnxModel } from '../../src/model/onnx.js'
import { answerAll, answerOne, generation, MODEL_DIR, onnxSource } from './answer.js'
import { buildTinyModel } from './tiny/build.js'

type Reference = { prompt: string; ids: number[]; greedy: number[]; text: string }

const reference: Reference[] = JSON.parse(readFileSync(join(MODEL_DIR, 'reference.json'), 'utf8'))
const REFERENCE_TOKENS = 96

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
const open = (slots: number, dir = MODEL_DIR): Promise<OnnxModel> => OnnxModel.load(onnxSource(dir, { slots }))

/** A copy of the default model with another graph or other files. */
const variant = (name: string, graph: string, files: Record<string, object> = {}): string => {
  const dir = join(temporary, name)
  mkdirSync(join(dir, 'onnx'), { recursive: true })
  for (const file of ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']) {
    cpSync(join(MODEL_DIR, file), join(dir, file))
  }
  symlinkSync(join(MODEL_DIR, 'onnx', graph), join(dir, 'onnx/model.onnx'))
  for (const [file, content] of Object.entries(files)) writeFileSync(join(dir, file), JSON.stringify(content))
  return dir
}

const model = await open(6)
const [story, robot] = reference as [Reference, Reference]

after(async () => {
  await model.close()
  rmSync(temporary, { recursive: true })
})

for (const [layout, graph, slots] of [
  ['GroupQueryAttention', 'model.onnx', 1],
  ['GroupQueryAttention', 'model.onnx', 6],
  ['position_ids', 'model_plain.onnx', 3],
] as const) {
  test(`greedy answers of a ${layout} graph are the reference’s in ${slots} slots`, async () => {
    const own = await open(slots, variant(`${layout}-${slots}`, graph))

    const answers = await answerAll(
      own,
      reference.map(({ prompt }) => generation(prompt, { maxTokens: REFERENCE_TOKENS })),
    )

    for (const [i, { ids, greedy, text }] of reference.entries()) {
      const answer = answers[i]
      assert.deepEqual(answer?.ids, greedy)
      assert.equal(answer?.text, text)
      assert.equal(answer?.admission.promptTokens, ids.length)
      assert.equal(answer?.end, greedy.length === REFERENCE_TOKENS ? 'length' : 'stop')
    }
    await own.close()
  })
}

test('the end of text is an end without a token', async () => {
  const { slot } = await model.admit(generation('What color is the sky?'))
  const outputs = []
  for (let i = 0; i < 6; i++) outputs.push(...(await model.step()))

  assert.deepEqual(
    outputs.slice(0, 5).map(({ end }) => end),
    [null, null, null, null, null],
  )
  assert.deepEqual(outputs[5], { slot, id: -1, text: '', end: 'stop' })
  assert.deepEqual(await model.step(), [])
  assert.equal(model.idleMs(), Number.POSITIVE_INFINITY)
  model.release(slot)
})

const sampled: Sampling = { seed: 42, temperature: 0.9, topK: 40, topP: 0.95, minP: 0.02, repetitionPenalty: 1.1 }

for (const [name, sampling] of [
  ['greedy', { seed: 1, temperature: 0 }],
  ['sampled', sampled],
] as const) {
  test(`a ${name} answer goes on after its recorded tokens as if it had never stopped`, async () => {
    for (const { prompt } of [story, robot, reference[8] as Reference]) {
      const whole = await answerOne(model, generation(prompt, { sampling, maxTokens: REFERENCE_TOKENS }))

      for (const cut of [1, 2, 17, 36, 64, 95].filter((cut) => cut < whole.ids.length)) {
        const recorded = whole.ids.slice(0, cut)
        const { admission } = whole
        const rest = await answerOne(model, generation(prompt, { sampling, maxTokens: REFERENCE_TOKENS, recorded }))

        assert.deepEqual([...recorded, ...rest.ids], whole.ids, `cut at ${cut}`)
        assert.ok(whole.text.endsWith(rest.text))
        assert.equal(rest.admission.promptTokens, admission.promptTokens)
      }
    }
  })
}

test('a model whose rows must be run one by one says the same in a slot that was used before', async () => {
  const dir = await buildTinyModel(join(temporary, 'one-by-one'), { type: 'gpt2', positions: 'past' })
  const own = await open(1, dir)
  const say = () => answerOne(own, generation('Hello world', { maxTokens: 12 }))

  const [first, second] = [await say(), await say()]

  assert.notEqual(own.note, undefined)
  assert.deepEqual(second.ids, first.ids)
  await own.close()
})

test('the same seed says the same, another seed something else', async () => {
  const say = (seed: number) =>
    answerOne(model, generation(story.prompt, { sampling: { ...sampled, seed }, maxTokens: 40 }))

  const [one, again, other] = [await say(7), await say(7), await say(8)]

  assert.deepEqual(one.ids, again.ids)
  assert.notDeepEqual(one.ids, other.ids)
})

test('a request that says nothing is sampled as the model’s makers want it', async () => {
  const say = (sampling: Sampling) => answerOne(model, generation(robot.prompt, { sampling, maxTokens: 40 }))

  const silent = await say({ seed: 5 })
  const explicit = await say({ seed: 5, temperature: 0.7, topP: 0.9 })
  const greedy = await say({ seed: 5, temperature: 0 })

  assert.deepEqual(silent.ids, explicit.ids)
  assert.notDeepEqual(silent.ids, greedy.ids)
})

test('a model whose makers do not sample is greedy, and may name one end of text only', async () => {
  const greedy = { do_sample: false, temperature: 0.7, eos_token_id: 50 }
  const own = await open(1, variant('greedy', 'model.onnx', { 'generation_config.json': greedy }))

  const answer = await answerOne(own, generation(story.prompt, { sampling: { seed: 5 } }))

  // 50 is the full stop: the answer ends with its first sentence.
  assert.deepEqual(answer.ids, story.greedy.slice(0, story.greedy.indexOf(50)))
  assert.equal(answer.end, 'stop')
  await own.close()
})

test('a slot is free again once it is released, ended or not', async () => {
  const slots: number[] = []
  for (let i = 0; i < 6; i++) slots.push((await model.admit(generation('Hello!'))).slot)
  assert.deepEqual([...slots].sort(), [0, 1, 2, 3, 4, 5])
  await assert.rejects(model.admit(generation('Hello!')), /all 6 slots are taken/)

  model.release(3)
  model.release(3)
  assert.equal((await model.admit(generation('Hello!'))).slot, 3)
  await assert.rejects(model.admit(generation('Hello!')), /all 6 slots are taken/)

  for (const slot of slots) model.release(slot)
  assert.equal(model.idleMs(), Number.POSITIVE_INFINITY)
})

test('a refused prompt takes no slot', async () => {
  const own = await open(1, MODEL_DIR)

  await assert.rejects(own.admit(generation('1'.repeat(600))), { code: 'prompt_too_long' })
  await assert.rejects(own.admit(generation('')), { code: 'invalid_prompt' })
  assert.equal((await own.admit(generation('Hello!'))).slot, 0)
  await own.close()
})

test('an answer has at most max_tokens, 256 where nobody said, and never more than the context has room for', async () => {
  const bound = async (text: string, maxTokens: number | null): Promise<number> => {
    const admission = await model.admit(generation(text, { maxTokens }))
    model.release(admission.slot)
    return admission.maxTokens
  }

  assert.equal(await bound('Hello!', null), 256)
  assert.equal(await bound('Hello!', 10_000), 507)
  assert.equal(await bound('Hello!', 9), 9)
  assert.equal(await bound('1'.repeat(500), null), 9)
})

test('an answer ends when the context is full, also when a lost attempt had filled it', async () => {
  // A prompt of 505 tokens, longer than one chunk of prefill, leaves room for 7.
  const text = `Tell me a story. ${'1'.repeat(497)}`
  const full = await answerOne(model, generation(text, { maxTokens: 100 }))
  const { slot } = await model.admit(generation(text, { maxTokens: 100, recorded: full.ids }))
  const outputs = await model.step()
  model.release(slot)

  assert.equal(full.admission.promptTokens + full.ids.length, 512)
  assert.equal(full.end, 'length')
  assert.deepEqual(outputs, [{ slot, id: -1, text: '', end: 'length' }])
})

test('a directory that cannot be used says why in one line', () => {
  const config = JSON.parse(readFileSync(join(MODEL_DIR, 'config.json'), 'utf8')) as Record<string, unknown>
  const wrong = (name: string, fields: object): (() => unknown) => {
    const dir = variant(name, 'model.onnx', { 'config.json': { ...config, ...fields } })
    return () => onnxSource(dir)
  }

  assert.throws(
    wrong('no-context', { max_position_embeddings: undefined }),
    /config.json has no max_position_embeddings/,
  )
  assert.throws(wrong('no-heads', { num_attention_heads: undefined }), /config.json has no num_attention_heads/)
  assert.throws(wrong('one-token', { max_position_embeddings: 1 }), /a context of 1 tokens has no room/)
  assert.throws(wrong('half', { num_hidden_layers: 1.5 }), /num_hidden_layers is 1.5, not a whole number over 0/)
  assert.throws(() => onnxSource(variant('no-graph', 'no-such.onnx')), /has no onnx\/model.onnx/)
})
