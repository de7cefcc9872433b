import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { remove, rewriteAttention } from '../../src/model/attention.js'
import { Decoder } from '../../src/model/decoder.js'
import { addedOutputs, checkGraph, readGraph } from '../../src/model/graph.js'
import { concat } from '../../src/model/protobuf.js'
import { buildTinyModel, type TinyOptions } from './tiny/build.js'
import { emptyPast, int64, lastLogits, openGraph, tensorOf } from './tiny/greedy.js'
import { type Attribute, Graph, MICROSOFT } from './tiny/onnx-graph.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-attention-'))
after(() => rmSync(temporary, { recursive: true }))

const build = async (options: TinyOptions, file = 'model.onnx'): Promise<string> =>
  join(await buildTinyModel(mkdtempSync(join(temporary, 'tiny-')), options), 'onnx', file)

const open = (path: string): Promise<Decoder> =>
  Decoder.open(path, { threads: 1, windowTokens: null, contextTokens: 256 })

const REWRITTEN: [TinyOptions, file?: string][] = [
  [{ type: 'llama' }],
  [{ type: 'llama', kvHeads: 4 }],
  [{ type: 'llama', layout: 'separate', kvHeads: 1 }],
  [{ type: 'llama', layout: 'separate', heads: 6 }],
  [{ type: 'qwen2', layout: 'rotary-nodes' }],
  [{ type: 'qwen2', externalData: true }],
  [{ type: 'llama', quantized: ['q4'] }, 'model_q4.onnx'],
]

/** Different for each row. */
const idsOf = (row: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => 20 + ((row * 97 + i * 31) % 280))

for (const [options, file] of REWRITTEN) {
  test(`rewritten, ${JSON.stringify(options)} gives the logits of the graph as it is`, async () => {
    const path = await build(options, file)
    const session = await openGraph(path)
    const decoder = await open(path)
    const whole = async (ids: number[]): Promise<Float32Array> => {
      const feeds = { ...emptyPast(session), input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)) }
      const positions = session.inputNames.includes('position_ids') ? { position_ids: int64(ids.map((_, i) => i)) } : {}
      return lastLogits(tensorOf(await session.run({ ...feeds, ...positions }), 'logits'))
    }
    const near = (actual: Float32Array, expected: Float32Array): void => {
      const most = Math.max(...actual.map((logit, i) => Math.abs(logit - (expected[i] as number))))
      assert.ok(most < 1e-4, `${most}`)
    }
    const cache = decoder.newCache(3, 256)
    const rows = [70, 3, 41].map((count, row) => idsOf(row, count))

    assert.equal(decoder.layout, 'apart')
    for (const [row, ids] of rows.entries()) {
      cache.add(0)
      // From nothing, and with a past; the first of them in a bucket of no positions.
      const cut = Math.ceil(ids.length / 2)
      near(await decoder.run(ids.slice(0, cut), cache, cache.row(row)), await whole(ids.slice(0, cut)))
      near(await decoder.run(ids.slice(cut), cache, cache.row(row)), await whole(ids))
    }
    for (let step = 0; step < 3; step++) {
      spoil(cache)
      for (const ids of rows) ids.push(30 + step)
      const logits = await decoder.run(
        rows.map((ids) => ids.at(-1) as number),
        cache,
        cache.front,
      )
      for (const [row, ids] of rows.entries()) {
        near(logits.subarray(row * decoder.vocabulary, (row + 1) * decoder.vocabulary), await whole(ids))
      }
    }
    await session.release()
    await decoder.close()
  })
}

/** What is left over beyond a row's length is any finite number. */
const spoil = ({ buffers, shape, front }: ReturnType<Decoder['newCache']>): void => {
  for (const buffer of buffers) {
    for (let run = 0; run < front.rows * shape.heads; run++) {
      const length = front.lengths[Math.floor(run / shape.heads)] as number
      buffer.fill(1e30, (run * front.bucket + length) * shape.headSize, (run + 1) * front.bucket * shape.headSize)
    }
  }
}

for (const [options, layout, file] of [
  [{ type: 'llama', softcap: 5 }, 'position'],
  [{ type: 'llama', window: 24 }, 'position'],
  [{ type: 'llama', quantized: ['int8'] }, 'position', 'model_quantized.onnx'],
  [{ type: 'llama', layout: 'plain' }, 'end'],
  [{ type: 'gpt2' }, 'end'],
] as [TinyOptions, string, string?][]) {
  test(`${JSON.stringify(options)} is left as it is`, async () => {
    const decoder = await open(await build(options, file))

    assert.equal(decoder.layout, layout)
    await decoder.close()
  })
}

test('what only attention read is gone with it, and the file is not touched', async () => {
  const file = readFileSync(await build({ type: 'llama' }))
  const before = Buffer.from(file)
  const { kvNames, shape } = checkGraph(readGraph(file))
  const rewrite = rewriteAttention(file, kvNames, shape)
  assert.ok(rewrite)

  const whole = concat(file, addedOutputs(kvNames, shape, null, rewrite.added))
  remove(whole, rewrite)

  const names = (values: { name: string }[]): string[] => values.map(({ name }) => name).filter((n) => !/^past/.test(n))
  const { inputs, outputs } = readGraph(whole)
  assert.deepEqual(names(inputs), ['input_ids', 'rejoin_positions', 'rejoin_bias', 'rejoin_split'])
  assert.deepEqual(names(outputs), ['logits', 'rejoin_step', 'rejoin_logits'])
  assert.ok(file.equals(before))
})

test('attention of which anything is not understood is left as it is', () => {
  const KV = ['0.key', '0.value']
  const INPUTS = ['qkv', '', '', 'past_key_values.0.key', 'past_key_values.0.value', 'lengths', 'total', 'cos', 'sin']
  const OUTPUTS = ['attended', 'present.0.key', 'present.0.value']
  type Change = {
    attributes?: Record<string, Attribute>
    inputs?: string[]
    outputs?: string[]
    width?: number
    domain?: string
    extra?: (graph: Graph) => void
  }
  const rewritten = ({ attributes, inputs = INPUTS, outputs = OUTPUTS, width = 8, domain, extra }: Change = {}) => {
    const graph = new Graph()
    for (const name of ['cos', 'sin']) graph.tensor(name, [32, width], new Float32Array(32 * width))
    const all = { num_heads: 4, kv_num_heads: 2, do_rotary: 1, ...attributes }
    graph.op('GroupQueryAttention', inputs, all, { domain: domain ?? MICROSOFT, outputs })
    extra?.(graph)
    for (const name of OUTPUTS) graph.output(name, 'float', [])
    return rewriteAttention(graph.files(null).model, KV, { tensors: 2, heads: 2, headSize: 16 })
  }

  assert.ok(rewritten())
  assert.ok(rewritten({ inputs: [...INPUTS, 'position_ids'] }))
  assert.ok(rewritten({ inputs: [...INPUTS, '', '', ''] }))
  assert.ok(rewritten({ attributes: { do_rotary: 0 }, inputs: INPUTS.slice(0, 7) }))
  // No scale is the usual one.
  assert.deepEqual(rewritten({ attributes: { scale: { float: 0 } } })?.added, rewritten()?.added)
  assert.deepEqual(rewritten({ attributes: { scale: { float: 0.25 } } })?.added, rewritten()?.added)
  assert.notDeepEqual(rewritten({ attributes: { scale: { float: 0.5 } } })?.added, rewritten()?.added)
  for (const change of [
    { attributes: { softcap: { float: 5 } } },
    { attributes: { local_window_size: 16 } },
    { attributes: { smooth_softmax: 1 } },
    { attributes: { of_tomorrow: 1 } },
    { attributes: { kv_num_heads: 1 } },
    { attributes: { num_heads: 3 } },
    { inputs: [...INPUTS, 'other_positions'] },
    { inputs: [...INPUTS, '', 'attention_bias'] },
    { inputs: INPUTS.with(3, 'past_key_values.1.key') },
    { inputs: INPUTS.with(7, 'computed') },
    { inputs: INPUTS.with(1, 'k') },
    { outputs: [...OUTPUTS, 'scores'] },
    { outputs: OUTPUTS.with(1, 'other') },
    // Rotary of a part of the head.
    { width: 4 },
    { domain: '' },
    { extra: (graph: Graph) => graph.op('Identity', ['present.0.key']) },
  ]) {
    assert.equal(rewritten(change), null, JSON.stringify(change))
  }
})
