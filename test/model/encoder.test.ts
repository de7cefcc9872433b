import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Encoder } from '../../src/model/encoder.js'
import { Tokenizer } from '../../src/model/tokenizer.js'
import { encoderSource } from './answer.js'
import { buildTinyModel, type TinyOptions } from './tiny/build.js'
import { int64, openGraph, tensorOf } from './tiny/greedy.js'
import { Graph } from './tiny/onnx-graph.js'
import { ENCODER_VOCAB } from './tiny/tokenizers.js'

type BertOptions = Omit<Extract<TinyOptions, { type: 'bert' }>, 'type'>

const SIZE = 64
// From one token to some forty, in no order: several lengths of batches.
const TEXTS = [
  'the word',
  'a',
  'it was the one word that he had for this, and at the end of it all they were by you',
  'testing, testing',
  'of and to in is you that it he was for on are as with his they at be this have from or one had by word',
  'Words!',
]

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))

let built = 0
const build = (options: BertOptions = {}): Promise<string> =>
  buildTinyModel(join(temporary, String(built++)), { type: 'bert', ...options })

const open = async (dir: string, file: string | null = null): Promise<Encoder> => {
  const encoder = await Encoder.load(encoderSource(dir, { file }))
  after(() => encoder.close())
  return encoder
}

const change = (dir: string, file: string, fields: object): void => {
  const path = join(dir, file)
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...fields }))
}

/** One text in the plainest way: the graph alone, its vectors pooled and normalised number by number. */
const reference = async (dir: string, text: string, pooling: 'mean' | 'cls'): Promise<number[]> => {
  const session = await openGraph(join(dir, 'onnx/model.onnx'))
  const ids = Tokenizer.load(dir).encode(text, { addSpecial: true })
  const feeds = { input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)) }
  const typed = session.inputNames.includes('token_type_ids') ? { token_type_ids: int64(ids.map(() => 0)) } : {}
  const hidden = tensorOf(await session.run({ ...feeds, ...typed }), 'last_hidden_state').data as Float32Array
  await session.release()
  const vectors = ids.map((_, i) => [...hidden.slice(i * SIZE, (i + 1) * SIZE)])
  const some = pooling === 'cls' ? vectors.slice(0, 1) : vectors
  const sum = Array.from({ length: SIZE }, (_, i) => some.reduce((sum, vector) => sum + (vector[i] as number), 0))
  const length = Math.sqrt(sum.reduce((squares, value) => squares + value * value, 0))
  return sum.map((value) => value / length)
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from({ length: SIZE }, (_, i) => Math.abs((a[i] as number) - (b[i] as number))))

const near = (embedding: Float32Array | undefined, expected: ArrayLike<number> | undefined): void => {
  assert.equal(embedding?.length, SIZE)
  const apart = distance(embedding as Float32Array, expected as ArrayLike<number>)
  assert.ok(apart < 1e-5, `${apart} apart`)
}

for (const pooling of ['mean', 'cls'] as const) {
  for (const tokenTypes of [true, false]) {
    test(`an embedding is the ${pooling} of the token vectors, ${tokenTypes ? 'with' : 'without'} token types`, async () => {
      const dir = await build({ pooling, tokenTypes })
      const encoder = await open(dir)

      const { embeddings, tokens } = await encoder.embed(TEXTS)

      for (const [i, text] of TEXTS.entries()) near(embeddings[i], await reference(dir, text, pooling))
      assert.deepEqual(tokens, [4, 3, 30, 11, 29, 5])
      assert.equal(encoder.batched, true)
    })
  }
}

test('without files that say how to pool it is the mean', async () => {
  const dir = await build({ pooling: null })

  const { embeddings } = await (await open(dir)).embed(['the word'])

  near(embeddings[0], await reference(dir, 'the word', 'mean'))
})

test('an embedding is 1 long, whether the model’s own modules make it so or not', async () => {
  for (const normalize of [true, false]) {
    const encoder = await open(await build({ pooling: 'mean', normalize }))

    for (const embedding of (await encoder.embed(TEXTS)).embeddings) {
      const squares = embedding.reduce((sum, value) => sum + value * value, 0)
      assert.ok(Math.abs(squares - 1) < 1e-5)
    }
  }
})

test('a text has the same embedding alone and beside others, in the order of the input', async () => {
  const encoder = await open(await build())
  const texts = Array.from({ length: 60 }, (_, i) => `${TEXTS[i % TEXTS.length]} ${i}`)

  const together = await encoder.embed(texts)

  for (const [i, text] of texts.entries()) {
    const alone = await encoder.embed([text])
    near(together.embeddings[i], alone.embeddings[0])
    assert.equal(together.tokens[i], alone.tokens[0])
  }
  assert.ok(distance(together.embeddings[0] as Float32Array, together.embeddings[1] as Float32Array) > 0.01)
})

test('a graph’s own sentence embedding is taken, and made 1 long', async () => {
  for (const normalize of [true, false]) {
    const dir = await build({ sentenceEmbedding: true, pooling: 'cls', normalize })
    // What the graph has done stands, whatever the file says.
    change(dir, '1_Pooling/config.json', { pooling_mode_cls_token: false, pooling_mode_lasttoken: true })

    const { embeddings } = await (await open(dir)).embed(TEXTS)

    for (const [i, text] of TEXTS.entries()) near(embeddings[i], await reference(dir, text, 'cls'))
  }
})

test('a q4 graph gives nearly the same embeddings, from files beside the graph, too', async () => {
  const dir = await build({ quantized: ['q4'], externalData: true })
  const q4 = await (await open(dir, 'onnx/model_q4.onnx')).embed(TEXTS)
  const float = await (await open(dir)).embed(TEXTS)

  for (const [i, embedding] of q4.embeddings.entries()) {
    const cosine = embedding.reduce((sum, value, j) => sum + value * (float.embeddings[i]?.[j] as number), 0)
    assert.ok(cosine > 0.95 && cosine < 0.99999, `${cosine}`)
  }
})

test('a graph that scales by the whole batch gets its texts one by one', async () => {
  const dir = await build({ quantized: ['int8'] })
  const encoder = await open(dir, 'onnx/model_quantized.onnx')

  const together = await encoder.embed(TEXTS)

  assert.equal(encoder.batched, false)
  for (const [i, text] of TEXTS.entries()) {
    assert.deepEqual(together.embeddings[i], (await encoder.embed([text])).embeddings[0])
  }
})

test('a graph whose sentence embedding counts the padding gets its texts one by one', async () => {
  const graph = new Graph()
  for (const name of ['input_ids', 'attention_mask']) graph.input(name, 'int64', ['batch', 'sequence'])
  const table = graph.tensor(
    'table',
    [ENCODER_VOCAB, 2],
    Float32Array.from({ length: 2 * ENCODER_VOCAB }, (_, i) => Math.sin(i)),
  )
  const vectors = graph.op('Gather', [table, 'input_ids'])
  graph.op('ReduceMean', [vectors], { axes: [1], keepdims: 0 }, { outputs: ['sentence_embedding'] })
  graph.output('sentence_embedding', 'float', ['batch', 2])
  const dir = await build()
  writeFileSync(join(dir, 'onnx/model.onnx'), graph.files(null).model)
  const encoder = await open(dir)

  const together = await encoder.embed(TEXTS)

  assert.equal(encoder.batched, false)
  for (const [i, text] of TEXTS.entries()) {
    assert.deepEqual(together.embeddings[i], (await encoder.embed([text])).embeddings[0])
  }
})

test('a text that is longer than the model’s positions is refused with both numbers, and never cut', async () => {
  const encoder = await open(await build({ context: 32 }))
  // [CLS] and [SEP] count.
  const fits = 'the '.repeat(30)

  assert.deepEqual((await encoder.embed([fits])).tokens, [32])
  await assert.rejects(encoder.embed(['a', `${fits}the`]), {
    name: 'RejoinError',
    code: 'prompt_too_long',
    message: 'the text has 33 tokens, but the model has positions for 32',
  })
})

test('a text that is far too long is refused by its beginning, and odd ones are not taken for that', async () => {
  const encoder = await open(await build({ context: 32 }))
  const [far, spaces, word] = ['a '.repeat(100_000), `the${' '.repeat(100_000)}word`, 'a'.repeat(100_000)]

  const [tooLong, ...others] = await encoder.embedEach([far, spaces, word])

  assert.deepEqual(tooLong, {
    type: 'failed',
    code: 'prompt_too_long',
    message: 'the text has at least 428 tokens, but the model has positions for 32',
  })
  assert.deepEqual(
    others.map((embedding) => embedding.type === 'embedded' && embedding.tokens),
    [4, 3],
  )
})

test('the positions of RoBERTa’s kind begin behind the padding id', async () => {
  const dir = await build({ context: 34 })
  change(dir, 'config.json', { model_type: 'roberta', pad_token_id: 1 })

  assert.equal(encoderSource(dir).contextTokens, 32)
})

test('an empty text is refused, and one of spaces has the tokens that the tokenizer adds', async () => {
  const encoder = await open(await build())

  await assert.rejects(encoder.embed(['']), { code: 'invalid_prompt', message: 'the text is empty' })
  assert.deepEqual((await encoder.embed([' \n'])).tokens, [2])
})

test('a text that cannot be embedded fails alone', async () => {
  const dir = await build()
  const tokenizer = JSON.parse(readFileSync(join(dir, 'tokenizer.json'), 'utf8'))
  // An id that the graph has no vector for.
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 900, content: '[NEW]' })
  change(dir, 'tokenizer.json', tokenizer)
  const encoder = await open(dir)

  const [first, bad, third] = await encoder.embedEach(['the word', 'the [NEW]', 'a word'])

  assert.deepEqual([first?.type, third?.type], ['embedded', 'embedded'])
  assert.ok(bad?.type === 'failed' && bad.code === 'model_failed' && /900/.test(bad.message), JSON.stringify(bad))
})

test('no texts have no embeddings', async () => {
  assert.deepEqual(await (await open(await build())).embed([]), { embeddings: [], tokens: [] })
})

test('a pooling that is not supported is refused with its file and field', async () => {
  const refused = async (file: string, content: object): Promise<void> => {
    const dir = await build({ pooling: 'mean' })
    writeFileSync(join(dir, file), JSON.stringify(content))
    await Encoder.load(encoderSource(dir))
  }
  const pooling = '1_Pooling/config.json'

  await assert.rejects(
    refused(pooling, { pooling_mode_max_tokens: true }),
    /1_Pooling\/config.json: pooling_mode_max_tokens is not supported, and the graph has no sentence_embedding$/,
  )
  await assert.rejects(
    refused(pooling, { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true }),
    /pooling_mode_cls_token with pooling_mode_mean_tokens is not supported/,
  )
  await assert.rejects(refused(pooling, { pooling_mode: 'lasttoken' }), /pooling_mode lasttoken is not supported/)
  await assert.rejects(
    refused('modules.json', [{ type: 'sentence_transformers.models.Dense', path: '2_Dense' }]),
    /modules.json: a module sentence_transformers.models.Dense is not supported/,
  )
  await assert.rejects(refused('modules.json', {}), /modules.json: not a list of JSON objects/)
})

test('how to pool is read from the module that modules.json names, in old files and new ones', async () => {
  const dir = await build({ pooling: 'mean' })
  const modules = [{ type: 'sentence_transformers.sentence_transformer.modules.Pooling', path: 'other' }]
  writeFileSync(join(dir, 'modules.json'), JSON.stringify(modules))
  mkdirSync(join(dir, 'other'))

  for (const [content, expected] of [
    [{ pooling_mode: 'cls' }, 'cls'],
    [{ pooling_mode: ['mean'] }, 'mean'],
    [{ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }, 'cls'],
    [{ embedding_dimension: SIZE }, 'mean'],
  ] as const) {
    writeFileSync(join(dir, 'other/config.json'), JSON.stringify(content))
    assert.deepEqual(encoderSource(dir).pooling, { type: expected })
  }
})

test('a graph of another kind is refused with the name of what it lacks or has too much', async () => {
  const graph = (inputs: string[], output: string, type: 'int64' | 'int32' = 'int64'): Uint8Array => {
    const graph = new Graph()
    for (const name of inputs) graph.input(name, type, ['batch', 'sequence'])
    graph.op('Identity', ['input_ids'], {}, { outputs: [output] })
    graph.output(output, type, ['batch', 'sequence'])
    return graph.files(null).model
  }
  const refused = async (model: Uint8Array): Promise<void> => {
    const dir = await build()
    writeFileSync(join(dir, 'onnx/model.onnx'), model)
    await Encoder.load(encoderSource(dir))
  }
  const both = ['input_ids', 'attention_mask']

  await assert.rejects(
    refused(graph(['input_ids'], 'last_hidden_state')),
    /model.onnx: the graph has no input attention_mask$/,
  )
  await assert.rejects(
    refused(graph([...both, 'past_key_values.0.key'], 'logits')),
    /the graph has an input past_key_values.0.key, which is not supported$/,
  )
  await assert.rejects(
    refused(graph(both, 'last_hidden_state', 'int32')),
    /input_ids is of element type 6, not int64 \(7\)$/,
  )
  await assert.rejects(
    refused(graph(both, 'logits')),
    /the graph has no output last_hidden_state or sentence_embedding, only logits: it makes no embeddings$/,
  )
  await assert.rejects(
    refused(graph(both, 'token_embeddings')),
    /token_embeddings is of element type 7, not float32 \(1\)/,
  )
  await assert.rejects(refused(Buffer.from('text')), /model.onnx: /)
})
