import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import {
  AT_INPUT,
  addedOutputs,
  checkGraph,
  cutLogits,
  LOGITS_OUTPUT,
  readGraph,
  STEP_OUTPUT,
} from '../../src/model/graph.js'
import { bytesField, concat, varintField } from '../../src/model/protobuf.js'
import { buildTinyModel, type TinyOptions } from './tiny/build.js'
import { tensorOf } from './tiny/greedy.js'
import { type ElementType, Graph, MICROSOFT } from './tiny/onnx-graph.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))

/** The bytes of a graph of a tiny model. */
const build = async (options: TinyOptions, file = 'model.onnx'): Promise<Buffer> => {
  const dir = await buildTinyModel(mkdtempSync(join(temporary, 'tiny-')), options)
  return readFileSync(join(dir, 'onnx', file))
}

const PLAIN = ['input_ids', 'attention_mask']
const WITH_POSITIONS = [...PLAIN, 'position_ids']

for (const [options, layout, inputs] of [
  [{ type: 'llama' }, 'position', PLAIN],
  [{ type: 'llama', layout: 'separate' }, 'position', PLAIN],
  [{ type: 'qwen2', layout: 'rotary-nodes' }, 'position', WITH_POSITIONS],
  [{ type: 'qwen2', layout: 'plain' }, 'end', WITH_POSITIONS],
  [{ type: 'gpt2' }, 'end', WITH_POSITIONS],
  [{ type: 'gpt2', positions: 'past' }, 'end', PLAIN],
] as const) {
  test(`the graph of ${JSON.stringify(options)} says what it takes, gives and is`, async () => {
    const graph = readGraph(await build({ ...options, layers: 2, heads: 4, headSize: 16 }))
    const heads = options.type === 'gpt2' ? 4 : 2

    const kv = ['0.key', '0.value', '1.key', '1.value']
    assert.equal(graph.layout, layout)
    assert.deepEqual([graph.dynamic, graph.external], [false, false])
    assert.deepEqual(
      graph.inputs.map(({ name }) => name).sort(),
      [...inputs, ...kv.map((name) => `past_key_values.${name}`)].sort(),
    )
    assert.deepEqual(
      graph.outputs.map(({ name }) => name).sort(),
      ['logits', ...kv.map((name) => `present.${name}`)].sort(),
    )
    assert.deepEqual(checkGraph(graph), { kvNames: kv, shape: { tensors: 4, heads, headSize: 16 } })
  })
}

test('an input has its element type and its sizes, by number or by name', async () => {
  const { inputs } = readGraph(await build({ type: 'llama' }))
  const value = (name: string) => inputs.find((input) => input.name === name)

  assert.deepEqual(value('input_ids'), {
    name: 'input_ids',
    type: 7,
    shape: ['batch_size', 'sequence_length'],
  })
  assert.deepEqual(value('past_key_values.1.value'), {
    name: 'past_key_values.1.value',
    type: 1,
    shape: ['batch_size', 2, 'past_sequence_length', 16],
  })
})

test('weights in a file of their own, and int8 that is scaled while it runs, are seen', async () => {
  const options = { type: 'llama', quantized: ['q4', 'int8'] } as const
  const seen = async (externalData: boolean, file: string) => {
    const { external, dynamic, layout } = readGraph(await build({ ...options, externalData }, file))
    return [external, dynamic, layout]
  }

  assert.deepEqual(await seen(false, 'model.onnx'), [false, false, 'position'])
  assert.deepEqual(await seen(true, 'model.onnx'), [true, false, 'position'])
  assert.deepEqual(await seen(false, 'model_q4.onnx'), [false, false, 'position'])
  assert.deepEqual(await seen(false, 'model_quantized.onnx'), [false, true, 'position'])
  assert.deepEqual(await seen(true, 'model_quantized.onnx'), [true, true, 'position'])
})

type Value = [type: ElementType, dims: (number | string)[]]

const PAST: Value = ['float', ['batch', 2, 'past', 8]]
const IDS: Value = ['int64', ['batch', 'length']]

const INPUTS = {
  input_ids: IDS,
  attention_mask: IDS,
  'past_key_values.0.key': PAST,
  'past_key_values.0.value': PAST,
}
const OUTPUTS = {
  logits: ['float', ['batch', 'length', 50]] as Value,
  'present.0.key': PAST,
  'present.0.value': PAST,
}

/** A decoder by its inputs and outputs alone, with changes; null takes one away. */
const decoder = (inputs: Record<string, Value | null> = {}, outputs: Record<string, Value | null> = {}): Graph => {
  const graph = new Graph()
  for (const [name, value] of Object.entries({ ...INPUTS, ...inputs })) if (value) graph.input(name, ...value)
  for (const [name, value] of Object.entries({ ...OUTPUTS, ...outputs })) if (value) graph.output(name, ...value)
  return graph
}

const bytesOf = (graph: Graph): Uint8Array => graph.files(null).model

test('weights that are listed among the inputs are not fed', () => {
  const graph = decoder({ 'model.weight': ['float', [2]], position_ids: IDS })
  graph.tensor('model.weight', [2], Float32Array.of(1, 2))

  const read = readGraph(bytesOf(graph))

  assert.deepEqual(
    read.inputs.map(({ name }) => name),
    [...Object.keys(INPUTS), 'position_ids'],
  )
  assert.deepEqual(checkGraph(read).kvNames, ['0.key', '0.value'])
})

test('a graph whose batch is fixed to one row says so', () => {
  const fixed = decoder({ input_ids: ['int64', [1, 'sequence_length']] })

  assert.deepEqual([readGraph(bytesOf(fixed)).single, readGraph(bytesOf(decoder())).single], [true, false])
})

test('weights that are said to be in the file itself are not in another', () => {
  const here = bytesField(5, concat(bytesField(8, 'weight'), varintField(14, 0)))

  assert.equal(readGraph(concat(bytesOf(decoder()), bytesField(7, here))).external, false)
})

test('newest positions are behind a row’s own only where attention itself reads the past', () => {
  const layoutOf = (domain: string, type: string, past: string): string => {
    const graph = decoder()
    graph.op(type, ['q', 'k', 'v', past], {}, { domain })
    return readGraph(bytesOf(graph)).layout
  }

  assert.equal(layoutOf(MICROSOFT, 'GroupQueryAttention', 'past_key_values.0.key'), 'position')
  assert.equal(layoutOf(MICROSOFT, 'GroupQueryAttention', '/model/Concat_output_0'), 'end')
  assert.equal(layoutOf('', 'Concat', 'past_key_values.0.key'), 'end')
})

test('a graph that is no decoder with a cache is refused by what it lacks', () => {
  const refusal = (graph: Graph): string => {
    const read = readGraph(bytesOf(graph))
    try {
      checkGraph(read)
    } catch (error) {
      return (error as Error).message
    }
    return 'accepted'
  }
  const half: Value = ['float16', ['batch', 2, 'past', 8]]
  const without = { 'past_key_values.0.key': null, 'past_key_values.0.value': null }

  assert.equal(refusal(decoder()), 'accepted')
  assert.equal(refusal(decoder(without)), 'the graph has no past_key_values inputs: it was exported without a cache')
  assert.equal(refusal(decoder({ input_ids: null })), 'the graph has no input input_ids')
  assert.equal(refusal(decoder({ attention_mask: null })), 'the graph has no input attention_mask')
  assert.equal(
    refusal(decoder({ use_cache_branch: ['bool', [1]] })),
    'the graph has an input use_cache_branch, which is not supported',
  )
  assert.equal(refusal(decoder({}, { logits: null })), 'the graph has no output logits')
  assert.equal(refusal(decoder({}, { 'present.0.value': null })), 'the graph has no output present.0.value')
  for (const [graph, name] of [
    [decoder({ 'past_key_values.0.value': half }), 'past_key_values.0.value'],
    [decoder({}, { 'present.0.key': half }), 'present.0.key'],
    [decoder({}, { logits: ['float16', ['batch', 'length', 50]] }), 'logits'],
  ] as const) {
    const message = `${name} is of element type 10, not float32 (1): take an fp32, int8 or q4 file of this model`
    assert.equal(refusal(graph), message)
  }
  assert.equal(
    refusal(decoder({}, { logits: ['float', ['batch', 50]] })),
    'logits has shape [batch, 50], not [batch, length, vocabulary]',
  )
})

test('an output that nobody reads may be of any type', () => {
  const graph = decoder({}, { pooled_output: ['int64', ['batch']], 'present.length': ['int64', []] })

  assert.deepEqual(checkGraph(readGraph(bytesOf(graph))).shape, { tensors: 2, heads: 2, headSize: 8 })
})

test('keys and values that are not of one fixed shape are refused with it', () => {
  const expected = 'every past input must be [batch, heads, length, head size] with the same heads and head size'
  const refused = (dims: (number | string)[], name: 'key' | 'value' = 'value'): void => {
    const graph = readGraph(bytesOf(decoder({ [`past_key_values.0.${name}`]: ['float', dims] })))
    assert.throws(() => checkGraph(graph), {
      message: `past_key_values.0.${name} has shape [${dims.join(', ')}]; ${expected}, as fixed numbers`,
    })
  }

  refused(['batch', 4, 'past', 8])
  refused(['batch', 2, 'past', 16])
  refused(['batch', 'past', 16])
  refused(['batch', 'past', 16], 'key')
  refused(['batch', 2, 'heads', 'past', 8])
  refused([])
  refused(['batch', 'heads', 'past', 8])

  // Not known in any of them.
  const unknown: Value = ['float', ['batch', 'heads', 'past', 8]]
  const graph = decoder({ 'past_key_values.0.key': unknown, 'past_key_values.0.value': unknown })
  assert.throws(() => checkGraph(readGraph(bytesOf(graph))), {
    message: `past_key_values.0.key has shape [batch, heads, past, 8]; ${expected}, as fixed numbers`,
  })
})

test('a file that is no ONNX model is told so, whatever it is instead', async () => {
  const model = await build({ type: 'llama' })

  for (const file of [
    Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n'),
    Buffer.from('<!doctype html><title>Not found</title>'),
    Buffer.from('{"error":"Entry not found"}'),
    model.subarray(0, 5000),
  ]) {
    assert.throws(() => readGraph(file), /^Error: not an ONNX model: protobuf: /)
  }
  for (const file of [Buffer.alloc(0), model.subarray(0, 8)]) {
    assert.throws(() => readGraph(file), { message: 'not an ONNX model: it has no outputs' })
  }
})

// The same numbers each time, so that no two tensors are alike.
const pseudoRandom = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(seed * 1000 + i * 1.7))

const int64 = (values: number[], dims: number[]): Tensor =>
  new Tensor('int64', BigInt64Array.from(values, BigInt), dims)

const HEADS = 2
const HEAD_SIZE = 16
const BUCKET = 8
const KV_NAMES = ['0.key', '0.value', '1.key', '1.value']

type Row = { length: number; ids: number[] }

/** What lies beyond a row's length must not count, so it is large. */
const pastOf = (tensor: number, rows: readonly Row[], bucket: number, fill: number): Tensor => {
  const data = new Float32Array(rows.length * HEADS * bucket * HEAD_SIZE).fill(fill)
  for (const [row, { length }] of rows.entries()) {
    for (let head = 0; head < HEADS; head++) {
      // By its length, so that the row is the same alone.
      const known = pseudoRandom(length * HEAD_SIZE, length * 10 + tensor * 2 + head)
      data.set(known, (row * HEADS + head) * bucket * HEAD_SIZE)
    }
  }
  return new Tensor('float32', data, [rows.length, HEADS, bucket, HEAD_SIZE])
}

/** Runs rows side by side, each in a bucket; a bucket that is the row's length is no padding. */
const runRows = async (session: InferenceSession, layout: string, rows: readonly Row[], bucket: number) => {
  const count = rows[0]?.ids.length ?? 0
  const width = layout === 'position' ? Math.max(...rows.map(({ length }) => length)) + count : bucket + count
  const masked = (at: number, length: number): number =>
    layout === 'position' ? Number(at < length + count) : Number(at < length || at >= bucket)
  const each = (first: (length: number) => number): number[] =>
    rows.flatMap(({ length, ids }) => ids.map((_, i) => first(length) + i))
  const mask = rows.flatMap(({ length }) => Array.from({ length: width }, (_, at) => masked(at, length)))
  const at = each((length) => (layout === 'position' ? length : bucket))
  const feeds: Record<string, Tensor> = {
    input_ids: int64(
      rows.flatMap(({ ids }) => ids),
      [rows.length, count],
    ),
    attention_mask: int64(mask, [rows.length, width]),
    [AT_INPUT]: int64(at, [rows.length, 1, count, 1]),
  }
  for (const [tensor, name] of KV_NAMES.entries()) feeds[`past_key_values.${name}`] = pastOf(tensor, rows, bucket, 9)
  if (session.inputNames.includes('position_ids')) {
    feeds.position_ids = int64(
      each((length) => length),
      [rows.length, count],
    )
  }
  return { outputs: await session.run(feeds), at }
}

const openWithAdded = async (options: TinyOptions, cut: typeof cutLogits = () => null) => {
  const file = await build({ ...options, headSize: HEAD_SIZE })
  const graph = readGraph(file)
  const { kvNames, shape } = checkGraph(graph)
  assert.deepEqual([kvNames, shape], [KV_NAMES, { tensors: 4, heads: HEADS, headSize: HEAD_SIZE }])
  const session = await InferenceSession.create(concat(file, addedOutputs(kvNames, shape, cut(file))), {
    logSeverityLevel: 3,
  })
  return { session, layout: graph.layout }
}

/** [rows, tensors x heads, count, headSize], taken out of `present.*` by hand. */
const newestOf = (outputs: InferenceSession.ReturnType, rows: number, count: number, at: number[]): Float32Array => {
  const newest: number[] = []
  for (let row = 0; row < rows; row++) {
    for (const name of KV_NAMES) {
      const { data, dims } = tensorOf(outputs, `present.${name}`)
      const positions = dims[2] as number
      for (let head = 0; head < HEADS; head++) {
        for (let i = 0; i < count; i++) {
          const place = ((row * HEADS + head) * positions + (at[row * count + i] as number)) * HEAD_SIZE
          newest.push(...(data as Float32Array).subarray(place, place + HEAD_SIZE))
        }
      }
    }
  }
  return Float32Array.from(newest)
}

const floats = (outputs: InferenceSession.ReturnType, name: string): Float32Array =>
  tensorOf(outputs, name).data as Float32Array

const assertClose = (actual: Float32Array, expected: Float32Array): void => {
  assert.equal(actual.length, expected.length)
  assert.ok(actual.every((value, i) => Math.abs(value - (expected[i] as number)) < 1e-3))
}

const BESIDE: Row[] = [
  { length: 3, ids: [40] },
  { length: 7, ids: [101] },
  { length: 5, ids: [12] },
]
const PIECE: Row[] = [{ length: 5, ids: [40, 256, 270] }]

for (const options of [
  { type: 'llama', kvHeads: 2 },
  { type: 'qwen2', layout: 'rotary-nodes', kvHeads: 2 },
  { type: 'llama', layout: 'plain', kvHeads: 2 },
  { type: 'gpt2', heads: 2 },
] as const) {
  test(`the outputs added to ${JSON.stringify(options)} are each row’s newest positions and last logits`, async () => {
    const { session, layout } = await openWithAdded(options)

    for (const rows of [BESIDE, PIECE]) {
      const count = rows[0]?.ids.length ?? 0
      const { outputs, at } = await runRows(session, layout, rows, BUCKET)

      assert.deepEqual(tensorOf(outputs, STEP_OUTPUT).dims, [rows.length, 4 * HEADS, count, HEAD_SIZE])
      assert.deepEqual(tensorOf(outputs, LOGITS_OUTPUT).dims, [rows.length, 320])
      assert.deepEqual(floats(outputs, STEP_OUTPUT), newestOf(outputs, rows.length, count, at))
      const logits = Array.from({ length: rows.length }, (_, row) => {
        const last = ((row + 1) * count - 1) * 320
        return [...floats(outputs, 'logits').subarray(last, last + 320)]
      })
      assert.deepEqual([...floats(outputs, LOGITS_OUTPUT)], logits.flat())

      // They are what the row has when it is alone and not padded: nothing of the padding, and nothing of the others.
      const [step, vocabulary] = [4 * HEADS * count * HEAD_SIZE, 320]
      for (const [i, row] of rows.entries()) {
        const alone = (await runRows(session, layout, [row], row.length)).outputs
        assertClose(floats(outputs, STEP_OUTPUT).subarray(i * step, (i + 1) * step), floats(alone, STEP_OUTPUT))
        const own = floats(outputs, LOGITS_OUTPUT).subarray(i * vocabulary, (i + 1) * vocabulary)
        assertClose(own, floats(alone, LOGITS_OUTPUT))
      }
    }
    await session.release()
  })
}

for (const options of [
  { type: 'llama', kvHeads: 2 },
  { type: 'llama', layout: 'plain', kvHeads: 2, tied: true },
  { type: 'gpt2', heads: 2 },
] as const) {
  test(`logits of ${JSON.stringify(options)} are computed for the last position only, and are the same`, async () => {
    const whole = await openWithAdded(options)
    const cut = await openWithAdded(options, cutLogits)

    const expected = await runRows(whole.session, whole.layout, PIECE, BUCKET)
    const { outputs } = await runRows(cut.session, cut.layout, PIECE, BUCKET)

    assert.deepEqual(tensorOf(expected.outputs, 'logits').dims, [1, 3, 320])
    assert.deepEqual(tensorOf(outputs, 'logits').dims, [1, 1, 320])
    assertClose(floats(outputs, LOGITS_OUTPUT), floats(expected.outputs, LOGITS_OUTPUT))
    await whole.session.release()
    await cut.session.release()
  })
}

test('logits that are no product of the hidden state are left as they are', () => {
  const graph = decoder()
  graph.op('Tanh', ['hidden_state'], {}, { outputs: ['logits'] })
  const file = bytesOf(graph)
  const before = file.slice()

  assert.equal(cutLogits(file), null)
  assert.deepEqual(file, before)
})

test('the addition changes nothing of the file that it is appended to', async () => {
  const file = await build({ type: 'llama' })
  const before = readGraph(file)
  const { kvNames, shape } = checkGraph(before)

  const after = readGraph(concat(file, addedOutputs(kvNames, shape, null)))

  assert.deepEqual(after, {
    ...before,
    inputs: [...before.inputs, { name: 'rejoin_at', type: 7, shape: ['rejoin_batch', 1, 'rejoin_count', 1] }],
    outputs: [
      ...before.outputs,
      { name: 'rejoin_step', type: 1, shape: ['rejoin_batch', 8, 'rejoin_count', 16] },
      { name: 'rejoin_logits', type: 1, shape: ['rejoin_batch', 'rejoin_vocabulary'] },
    ],
  })
})

test('a size that has neither number nor name is unknown', () => {
  const dim = bytesField(1, new Uint8Array(0))
  const type = bytesField(2, bytesField(1, bytesField(2, concat(dim, dim))))
  const output = bytesField(12, concat(bytesField(1, 'logits'), type))

  const { outputs } = readGraph(bytesField(7, output))

  assert.deepEqual(outputs, [{ name: 'logits', type: 0, shape: ['?', '?'] }])
})
