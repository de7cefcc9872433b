import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Tensor } from 'onnxruntime-node'
import { Tokenizer } from '../../../src/model/tokenizer.js'
import { buildTinyModel, type TinyOptions } from './build.js'
import { openGraph, tensorOf } from './greedy.js'

type BertOptions = Omit<Extract<TinyOptions, { type: 'bert' }>, 'type'>

const HIDDEN = 64
// The second row is the first, with two ids more: [CLS] a b c [SEP].
const ROWS = [
  [2, 40, 41, 42, 3],
  [2, 40, 41, 42, 50, 51, 3],
]

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))

let built = 0
const build = (options: BertOptions = {}): Promise<string> =>
  buildTinyModel(join(temporary, String(built++)), { type: 'bert', ...options })

/** All rows in one call, padded on the right with [PAD]. */
const encode = async (
  dir: string,
  rows: number[][],
  { type = 0, file = 'model.onnx' } = {},
): Promise<Record<string, Tensor>> => {
  const session = await openGraph(join(dir, 'onnx', file))
  const width = Math.max(...rows.map((row) => row.length))
  const batch = (of: (row: number[], i: number) => number): Tensor => {
    const numbers = rows.flatMap((row) => Array.from({ length: width }, (_, i) => BigInt(of(row, i))))
    return new Tensor('int64', BigInt64Array.from(numbers), [rows.length, width])
  }
  const feeds: Record<string, Tensor> = {
    input_ids: batch((row, i) => row[i] ?? 0),
    attention_mask: batch((row, i) => (i < row.length ? 1 : 0)),
  }
  if (session.inputNames.includes('token_type_ids')) feeds.token_type_ids = batch(() => type)
  const outputs = await session.run(feeds)
  await session.release()
  return Object.fromEntries(session.outputNames.map((name) => [name, tensorOf(outputs, name)]))
}

const vectorsOf = (tensor: Tensor | undefined): number[][] => {
  const numbers = [...((tensor as Tensor).data as Float32Array)]
  return Array.from({ length: numbers.length / HIDDEN }, (_, i) => numbers.slice(i * HIDDEN, (i + 1) * HIDDEN))
}

const hidden = async (dir: string, rows: number[][], options = {}): Promise<number[][]> =>
  vectorsOf((await encode(dir, rows, options)).last_hidden_state)

const distance = (a: number[][], b: number[][]): number =>
  Math.max(...a.flatMap((vector, i) => vector.map((x, j) => Math.abs(x - (b[i]?.[j] ?? Number.NaN)))))

const length = (vector: number[]): number => Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))

test('each token of a batch has a vector, and padding changes none', async () => {
  const dir = await build()

  const together = (await encode(dir, ROWS)).last_hidden_state as Tensor
  const [alone, second] = [await hidden(dir, [ROWS[0] as number[]]), await hidden(dir, [ROWS[1] as number[]])]

  assert.deepEqual(together.dims, [2, 7, HIDDEN])
  assert.ok(distance(vectorsOf(together).slice(0, 5), alone) < 1e-4)
  assert.ok(distance(vectorsOf(together).slice(7), second) < 1e-4)
  assert.ok(distance(alone, second.slice(0, 5)) > 0.1)
})

test('token types matter where there are any, and are 0 where there are none', async () => {
  const [typed, untyped] = [await build(), await build({ tokenTypes: false })]

  const base = await hidden(typed, ROWS)

  assert.ok(distance(await hidden(typed, ROWS, { type: 1 }), base) > 0.1)
  assert.ok(distance(await hidden(untyped, ROWS), base) < 1e-4)
})

test('a sentence embedding is the mean over the tokens that are no padding, or the first', async () => {
  const mean = await encode(await build({ sentenceEmbedding: true }), ROWS)
  const cls = await encode(await build({ sentenceEmbedding: true, pooling: 'cls' }), ROWS)

  const vectors = vectorsOf(mean.last_hidden_state)
  const means = [vectors.slice(0, 5), vectors.slice(7)].map((tokens) =>
    Array.from(
      { length: HIDDEN },
      (_, j) => tokens.reduce((sum, token) => sum + (token[j] as number), 0) / tokens.length,
    ),
  )
  assert.deepEqual(mean.sentence_embedding?.dims, [2, HIDDEN])
  assert.ok(distance(vectorsOf(mean.sentence_embedding), means) < 1e-4)
  assert.ok(distance(vectorsOf(cls.sentence_embedding), [vectors[0] as number[], vectors[7] as number[]]) < 1e-6)
})

test('a normalized embedding points the same way and is 1 long', async () => {
  for (const pooling of ['mean', 'cls'] as const) {
    const [free] = vectorsOf((await encode(await build({ sentenceEmbedding: true, pooling }), ROWS)).sentence_embedding)
    const unit = await build({ sentenceEmbedding: true, pooling, normalize: true })

    const [vector] = vectorsOf((await encode(unit, ROWS)).sentence_embedding) as [number[]]

    const expected = (free as number[]).map((x) => x / length(free as number[]))
    assert.ok(distance([vector], [expected]) < 1e-5)
  }
})

test('the quantized graphs of an encoder give nearly the same vectors', async () => {
  const dir = await build({ quantized: ['q4', 'int8'], externalData: true })
  const floats = await hidden(dir, ROWS)

  for (const [file, least] of [
    ['model_q4.onnx', 0.95],
    ['model_quantized.onnx', 0.98],
  ] as const) {
    const vectors = await hidden(dir, ROWS, { file })
    for (const [i, vector] of vectors.entries()) {
      const float = floats[i] as number[]
      const cosine = vector.reduce((sum, x, j) => sum + x * (float[j] as number), 0) / length(vector) / length(float)
      assert.ok(cosine > least, `${file}: ${cosine}`)
    }
  }
})

test('an encoder’s tokenizer puts [CLS] and [SEP] around a text of words and pieces', async () => {
  const tokenizer = Tokenizer.load(await build())

  const ids = tokenizer.encode('The word, testing', { addSpecial: true })

  assert.deepEqual([ids[0], ids.at(-1)], [2, 3])
  assert.equal(ids.length, 9)
  assert.equal(tokenizer.decode(ids), 'the word, testing')
  assert.deepEqual(tokenizer.encode('é☃', { addSpecial: false }), tokenizer.encode('e☃', { addSpecial: false }))
  assert.deepEqual(tokenizer.encode('☃', { addSpecial: false }), [1])
  assert.deepEqual(tokenizer.specialTokens, ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'])
})

test('a directory of sentence-transformers says how to pool', async () => {
  const dir = await build({ pooling: 'cls', normalize: true })
  const read = (file: string) => JSON.parse(readFileSync(join(dir, file), 'utf8'))

  assert.equal(read('1_Pooling/config.json').pooling_mode_cls_token, true)
  assert.equal(read('1_Pooling/config.json').pooling_mode_mean_tokens, false)
  assert.deepEqual(
    read('modules.json').map(({ path, type }: { path: string; type: string }) => [path, type]),
    [
      ['', 'sentence_transformers.models.Transformer'],
      ['1_Pooling', 'sentence_transformers.models.Pooling'],
      ['2_Normalize', 'sentence_transformers.models.Normalize'],
    ],
  )
  assert.equal(read('config.json').model_type, 'bert')
  assert.equal(read('config.json').vocab_size, Object.keys(read('tokenizer.json').model.vocab).length)
})
