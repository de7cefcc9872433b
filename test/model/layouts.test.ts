import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { OnnxModel } from '../../src/model/onnx.js'
import { fields, integers } from '../../src/model/protobuf.js'
import type { OnnxOptions } from '../../src/model/source.js'
import { answerAll, generation, onnxSource } from './answer.js'
import { buildTinyModel, type TinyOptions } from './tiny/build.js'
import { greedy, openGraph } from './tiny/greedy.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-layouts-'))
after(() => rmSync(temporary, { recursive: true }))

let built = 0
const build = (options: TinyOptions): Promise<string> => buildTinyModel(join(temporary, `model-${built++}`), options)

const TOKENS = 24
/** From one token to several pieces of a prompt. */
const PROMPTS = [
  'a',
  'Hello',
  'the quick brown fox',
  'x'.repeat(40),
  'The rain in Spain stays mainly in the plain. '.repeat(2),
  'How many tokens are there, and who counts them? One, two, three. '.repeat(2),
]

type Case = [name: string, options: TinyOptions, batched: boolean, file?: string]

const CASES: Case[] = [
  ['llama, packed, 2 of 4 heads', { type: 'llama' }, true],
  ['llama, packed, as many heads', { type: 'llama', kvHeads: 4 }, true],
  ['llama, separate, 1 of 4 heads', { type: 'llama', layout: 'separate', kvHeads: 1 }, true],
  ['llama, separate, 2 of 6 heads', { type: 'llama', layout: 'separate', heads: 6 }, true],
  ['qwen2 with rotary nodes and position_ids', { type: 'qwen2', layout: 'rotary-nodes' }, true],
  ['qwen2, packed, weights in a file of their own', { type: 'qwen2', externalData: true }, true],
  ['llama, softcap', { type: 'llama', softcap: 5 }, true],
  ['llama, window, grouped', { type: 'llama', window: 24 }, true],
  ['llama, plain, 2 of 4 heads', { type: 'llama', layout: 'plain' }, true],
  ['llama, plain, as many heads', { type: 'llama', layout: 'plain', kvHeads: 4 }, true],
  [
    'qwen2, plain, tied, weights in a file of their own',
    { type: 'qwen2', layout: 'plain', tied: true, externalData: true },
    true,
  ],
  ['gpt2', { type: 'gpt2' }, true],
  ['gpt2, norm as one operator', { type: 'gpt2', fusedNorm: true }, true],
  ['llama, q4', { type: 'llama', quantized: ['q4'] }, true, 'onnx/model_q4.onnx'],
  ['llama, plain, window', { type: 'llama', layout: 'plain', window: 24 }, false],
  ['gpt2 with positions from the length of the past', { type: 'gpt2', positions: 'past' }, false],
  ['llama, int8', { type: 'llama', quantized: ['int8'] }, false, 'onnx/model_quantized.onnx'],
  ['gpt2, int8', { type: 'gpt2', quantized: ['int8'] }, false, 'onnx/model_quantized.onnx'],
]

const open = async (dir: string, options: Partial<OnnxOptions>): Promise<OnnxModel> =>
  OnnxModel.load(onnxSource(dir, { slots: 4, prefillChunk: 16, ...options }))

describe('every layout of an export', () => {
  for (const [name, options, batched, file = 'onnx/model.onnx'] of CASES) {
    test(`${name}: a row’s answer is that of the graph alone, whoever shares the batch`, async () => {
      const dir = await build(options)
      const session = await openGraph(join(dir, file))
      const model = await open(dir, { file })

      const answers = await answerAll(
        model,
        [...PROMPTS, ...PROMPTS.toReversed()].map((text) => generation(text, { maxTokens: TOKENS })),
      )

      assert.equal(model.note === undefined, batched)
      for (const [i, text] of [...PROMPTS, ...PROMPTS.toReversed()].entries()) {
        const { ids } = await greedy(session, model.encode({ type: 'text', text }), TOKENS)
        assert.deepEqual(answers[i]?.ids, ids, text)
      }
      await session.release()
      await model.close()
    })
  }
})

/** The embedding of one token becomes NaN, in the file. */
const poison = (path: string, id: number): void => {
  const file = readFileSync(path)
  const messages = (message: Uint8Array, field: number): Uint8Array[] =>
    [...fields(message)].flatMap((part) =>
      part.field === field && part.value instanceof Uint8Array ? [part.value] : [],
    )
  for (const tensor of messages(file, 7).flatMap((graph) => messages(graph, 5))) {
    const [rows, width] = [...fields(tensor)]
      .filter(({ field }) => field === 1)
      .flatMap(integers)
      .map(Number)
    const [raw] = messages(tensor, 9)
    if (rows !== 320 || !width || !raw) continue
    raw.fill(0xff, id * width * 4, (id + 1) * width * 4)
    writeFileSync(path, file)
    return
  }
  assert.fail('no embedding')
}

for (const options of [{ type: 'llama', layout: 'plain' }, { type: 'llama' }] as const) {
  test(`${JSON.stringify(options)}: a row whose numbers are not finite fails alone, and its place is clean`, async () => {
    const dir = await build(options)
    const session = await openGraph(join(dir, 'onnx/model.onnx'))
    const model = await open(dir, {})
    const bad = model.encode({ type: 'text', text: 'Z' }).at(-1) as number
    await model.close()
    poison(join(dir, 'onnx/model.onnx'), bad)
    const poisoned = await open(dir, { slots: 2 })

    const texts = [
      'Hello',
      'aZ',
      'the quick brown fox',
      'aZ',
      'The rain in Spain',
      'aZ and more of it, much more of it',
      'b',
    ]
    const answers = await answerAll(
      poisoned,
      texts.map((text) => generation(text, { maxTokens: TOKENS })),
    )

    for (const [i, text] of texts.entries()) {
      if (text.includes('Z')) assert.deepEqual([answers[i]?.end, answers[i]?.ids], ['failed', []])
      else
        assert.deepEqual(answers[i]?.ids, (await greedy(session, poisoned.encode({ type: 'text', text }), TOKENS)).ids)
    }
    await session.release()
    await poisoned.close()
  })
}

for (const options of [
  { type: 'llama' },
  { type: 'llama', window: 24 },
  { type: 'llama', layout: 'plain' },
  { type: 'gpt2' },
] as const) {
  test(`${JSON.stringify(options)}: a context that is no multiple of a bucket is used to its end`, async () => {
    const dir = await build({ ...options, context: 100 })
    const model = await open(dir, {})

    const [long, short] = await answerAll(model, [
      generation('a', { maxTokens: 1000 }),
      generation('the quick brown fox', { maxTokens: 1000 }),
    ])

    for (const answer of [long, short]) {
      assert.equal(answer?.end, 'length')
      assert.equal((answer?.admission.promptTokens ?? 0) + (answer?.ids.length ?? 0), 100)
    }
    await model.close()
  })
}

test('a prompt that ONNX Runtime cannot run fails alone, short or in pieces', async () => {
  const dir = await build({ type: 'llama' })
  const model = await open(dir, {})
  const unknown = (count: number) => generation('', { promptIds: Int32Array.from({ length: count }, () => 99_999) })

  const [healthy, short, long, other] = await answerAll(model, [
    generation('Hello', { maxTokens: TOKENS }),
    unknown(3),
    unknown(40),
    generation('the quick brown fox', { maxTokens: TOKENS }),
  ])

  assert.deepEqual([healthy?.end, short?.end, long?.end, other?.end], ['length', 'failed', 'failed', 'length'])
  assert.deepEqual([healthy?.ids.length, other?.ids.length], [TOKENS, TOKENS])
  await model.close()
})

test('a directory with other weights than its config tells of is refused with both', async () => {
  const dir = await build({ type: 'llama' })
  const other = await build({ type: 'llama', kvHeads: 4 })

  await assert.rejects(
    OnnxModel.load({ ...onnxSource(dir), file: join('..', other.slice(temporary.length), 'onnx/model.onnx') }),
    {
      message: `${dir}/config.json tells of 2 layers with 2 key/value heads of size 16, but the graph has 2 layers with 4 key/value heads of size 16`,
    },
  )
})

test('a graph file that is no ONNX model is refused with its name', async () => {
  const dir = await build({ type: 'llama' })
  const file = 'onnx/model.onnx'
  writeFileSync(join(dir, file), 'not a model')

  await assert.rejects(open(dir, {}), (error: Error) => error.message.startsWith(`${join(dir, file)}: `))
})
