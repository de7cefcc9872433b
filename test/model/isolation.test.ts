import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { Decoder } from '../../src/model/decoder.js'
import type { Generation, SlotOutput } from '../../src/model/model.js'
import { OnnxModel } from '../../src/model/onnx.js'
import { Sampler } from '../../src/model/sampler.js'
import { type Answer, answerAll, generation, onnxSource } from './answer.js'
import { buildTinyModel, type TinyOptions } from './tiny/build.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-isolation-'))
after(() => rmSync(temporary, { recursive: true }))

const GENERATIONS = ['Hello', 'the quick brown fox', 'x'.repeat(60), 'a'].map((text) =>
  generation(text, { maxTokens: 16 }),
)
/** No row but that of the third prompt has so many positions: it has them after some tokens of its answer. */
const POISON_POSITIONS = 66

const CASES: [name: string, options: TinyOptions][] = [
  ['grouped attention', { type: 'llama' }],
  ['plain operators', { type: 'gpt2' }],
  ['rows that are run one by one', { type: 'gpt2', positions: 'past' }],
]

type Said = Pick<Answer, 'ids' | 'text' | 'end'>

const said = (answers: Answer[]): Said[] => answers.map(({ ids, text, end }) => ({ ids, text, end }))

/** Every call with a row that `poisons` throws, as one that ONNX Runtime cannot run does. Returns the calls' rows. */
function poison(t: TestContext, poisons: (positions: number) => boolean): number[] {
  const calls: number[] = []
  const { run } = Decoder.prototype
  t.mock.method(Decoder.prototype, 'run', async function (this: Decoder, ...args: Parameters<Decoder['run']>) {
    const [, , { rows, lengths }] = args
    calls.push(rows)
    if (lengths.some(poisons)) throw new Error('a node failed')
    return run.apply(this, args)
  })
  return calls
}

describe('one row that cannot be run', () => {
  for (const [name, options] of CASES) {
    test(`${name}: it fails alone, and the others say what they would have said`, async (t) => {
      const dir = await buildTinyModel(join(temporary, name), options)
      const model = await OnnxModel.load(onnxSource(dir, { prefixCacheBytes: 0 }))
      t.after(() => model.close())
      const undisturbed = said(await answerAll(model, GENERATIONS))

      poison(t, (positions) => positions >= POISON_POSITIONS)
      const disturbed = said(await answerAll(model, GENERATIONS))
      t.mock.restoreAll()
      const afterwards = said(await answerAll(model, GENERATIONS))

      const poisoned = disturbed[2] as Said
      assert.equal(poisoned.end, 'failed')
      assert.ok(poisoned.ids.length > 0 && poisoned.ids.length < 16)
      assert.deepEqual(poisoned.ids, undisturbed[2]?.ids.slice(0, poisoned.ids.length))
      for (const i of [0, 1, 3]) assert.deepEqual(disturbed[i], undisturbed[i])
      assert.deepEqual(afterwards, undisturbed)
    })
  }

  test('its error is told, and rows are run together again as soon as it has gone', async (t) => {
    const dir = await buildTinyModel(join(temporary, 'calls'), { type: 'llama' })
    const model = await OnnxModel.load(onnxSource(dir, { prefixCacheBytes: 0, prefillChunk: 128 }))
    t.after(() => model.close())
    for (const one of GENERATIONS.slice(1)) await model.admit(one)
    await model.step()
    const rowsOf: number[][] = []
    const failures: SlotOutput[] = []

    const calls = poison(t, (positions) => positions >= POISON_POSITIONS)
    while (failures.length === 0) {
      calls.length = 0
      failures.push(...(await model.step()).filter(({ end }) => end === 'failed'))
      rowsOf.push([...calls])
    }
    calls.length = 0
    await model.step()

    assert.deepEqual(failures, [
      { slot: 1, id: -1, text: '', end: 'failed', error: { code: 'model_failed', message: 'a node failed' } },
    ])
    assert.deepEqual(rowsOf.at(-1), [3, 1, 1, 1])
    assert.deepEqual(calls, [2])
  })

  test('what goes wrong in choosing a row’s token is the end of that row alone', async (t) => {
    const dir = await buildTinyModel(join(temporary, 'choosing'), { type: 'llama' })
    const model = await OnnxModel.load(onnxSource(dir))
    t.after(() => model.close())
    const hello = (seed: number): Generation =>
      generation('Hello', { maxTokens: 4, sampling: { seed, temperature: 0 } })
    const { sample } = Sampler.prototype
    t.mock.method(Sampler.prototype, 'sample', function (this: Sampler, ...args: Parameters<Sampler['sample']>) {
      const [, { seed }, , position] = args
      if (seed === 13 && position === 2) throw new TypeError('a defect of the sampler')
      return sample.apply(this, args)
    })

    const [whole] = await answerAll(model, [hello(1)])
    const [failed, other] = await answerAll(model, [hello(13), hello(1)])

    assert.deepEqual([failed?.end, failed?.ids], ['failed', whole?.ids.slice(0, 2)])
    assert.deepEqual(other?.ids, whole?.ids)
  })
})
