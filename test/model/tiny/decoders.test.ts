import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { buildTinyModel, type TinyOptions } from './build.js'
import { emptyPast, type Greedy, gap, greedy, int64, lastLogits, openGraph, tensorOf } from './greedy.js'

const PROMPT = [40, 256, 270, 101, 65, 300, 12]
const LAYOUTS = ['packed', 'separate', 'rotary-nodes', 'plain'] as const

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))

let built = 0
const build = (options: TinyOptions): Promise<string> => buildTinyModel(join(temporary, String(built++)), options)

const say = async (
  options: TinyOptions,
  { steps = 40, file = 'model.onnx', forced = [] as number[] } = {},
): Promise<Greedy> => {
  const session = await openGraph(join(await build(options), 'onnx', file))
  const said = await greedy(session, PROMPT, steps, forced)
  await session.release()
  return said
}

/** The largest difference of two numbers that should be the same. */
const difference = (a: Float32Array, b: Float32Array): number =>
  Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))))

const distance = (a: Greedy, b: Greedy): number =>
  Math.max(...a.logits.map((logits, step) => difference(logits, b.logits[step] as Float32Array)))

const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * (y[i] as number), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

type DecoderOptions = Exclude<TinyOptions, { type: 'bert' }>

const networks: Exclude<DecoderOptions, { type: 'gpt2' }>[] = [
  { type: 'llama', heads: 4, kvHeads: 4 },
  { type: 'llama', heads: 4, kvHeads: 2 },
  { type: 'llama', heads: 4, kvHeads: 1 },
  { type: 'llama', heads: 6, kvHeads: 2 },
  { type: 'llama', layers: 3, tied: true, headSize: 32 },
  { type: 'llama', window: 24 },
  { type: 'llama', softcap: 2 },
  { type: 'qwen2' },
  { type: 'qwen2', heads: 6, kvHeads: 2, window: 24, tied: true },
]
for (const network of networks) {
  test(`the layouts of ${JSON.stringify(network)} say the same`, async () => {
    const answers = []
    for (const layout of LAYOUTS) answers.push(await say({ ...network, layout }))

    const [first, ...others] = answers as [Greedy, ...Greedy[]]
    for (const other of others) {
      assert.deepEqual(other.ids, first.ids)
      assert.ok(distance(other, first) < 1e-3)
    }
  })
}

for (const options of [
  ...networks,
  { type: 'gpt2' },
  { type: 'gpt2', layers: 3 },
  { type: 'gpt2', seed: 2 },
] satisfies DecoderOptions[]) {
  test(`what ${JSON.stringify(options)} says is varied, clear and without an end`, async () => {
    const { ids, logits } = await say(options)

    assert.ok(new Set(ids).size >= 15, `only ${new Set(ids).size} ids`)
    assert.ok(logits.filter((logits) => gap(logits) > 1e-3).length >= 38)
    const firstSpecial = { llama: 315, qwen2: 317, gpt2: 319 }[options.type]
    assert.ok(ids.every((id) => id < firstSpecial))
  })
}

test('a window changes what is said once the row is longer, and not before', async () => {
  for (const layout of ['packed', 'plain'] as const) {
    const whole = await say({ type: 'llama', layout })
    const windowed = await say({ type: 'llama', layout, window: 24 }, { forced: whole.ids })

    // The prompt is 7 ids, so choice 18 is the first that is made from more than 24 positions.
    const differs = whole.logits.map((logits, step) => difference(logits, windowed.logits[step] as Float32Array) > 1e-2)
    assert.equal(differs.indexOf(true), 18)
  }
})

test('softcap, biases, seed and depth change what is said', async () => {
  const base = await say({ type: 'llama' })

  for (const change of [{ softcap: 2 }, { seed: 2 }, { layers: 3 }, { tied: true }]) {
    assert.notDeepEqual((await say({ type: 'llama', ...change })).ids, base.ids)
  }
  assert.notDeepEqual((await say({ type: 'qwen2' })).ids, base.ids)
})

test('a GPT-2 says the same whatever its norm is made of and wherever its positions come from', async () => {
  const base = await say({ type: 'gpt2' })

  for (const change of [{ positions: 'past' }, { fusedNorm: true }, { positions: 'past', fusedNorm: true }] as const) {
    const other = await say({ type: 'gpt2', ...change })
    assert.deepEqual(other.ids, base.ids)
    assert.ok(distance(other, base) < 1e-3)
  }
})

test('a row that is padded on the left needs its positions from outside', async () => {
  const [alone] = (await say({ type: 'gpt2' }, { steps: 1 })).logits as [Float32Array]
  const padded = async (positions: 'input' | 'past'): Promise<Float32Array> => {
    const session = await openGraph(join(await build({ type: 'gpt2', positions }), 'onnx/model.onnx'))
    const outputs = await session.run({
      ...emptyPast(session),
      input_ids: int64([9, 9, ...PROMPT]),
      attention_mask: int64([0, 0, ...PROMPT.map(() => 1)]),
      ...(positions === 'input' ? { position_ids: int64([0, 0, ...PROMPT.keys()]) } : {}),
    })
    await session.release()
    return lastLogits(tensorOf(outputs, 'logits'))
  }

  assert.ok(cosine(await padded('input'), alone) > 0.9999)
  assert.ok(cosine(await padded('past'), alone) < 0.99)
})

test('a row of a batch says what it says alone, except in int8', async () => {
  const dir = await build({ type: 'llama', quantized: ['q4', 'int8'] })
  const loud = [72, 101, 108, 318, 318, 318, 318]
  const last = async (file: string, rows: number[][]): Promise<Float32Array> => {
    const session = await openGraph(join(dir, 'onnx', file))
    const batch = (numbers: number[]) => int64(numbers).reshape([rows.length, PROMPT.length])
    const outputs = await session.run({
      ...emptyPast(session, rows.length),
      input_ids: batch(rows.flat()),
      attention_mask: batch(rows.flat().map(() => 1)),
    })
    await session.release()
    return lastLogits(tensorOf(outputs, 'logits'))
  }

  for (const [file, same] of [
    ['model.onnx', true],
    ['model_q4.onnx', true],
    ['model_quantized.onnx', false],
  ] as const) {
    const apart = difference(await last(file, [loud, PROMPT]), await last(file, [PROMPT]))
    assert.equal(apart < 1e-3, same, `${file}: ${apart}`)
  }
})

const quantizable: TinyOptions[] = [
  { type: 'llama' },
  { type: 'llama', layout: 'plain', heads: 6 },
  { type: 'qwen2', layout: 'rotary-nodes', tied: true },
  { type: 'gpt2' },
]
for (const options of quantizable) {
  test(`the quantized graphs of ${JSON.stringify(options)} say nearly what its floats say`, async () => {
    const floats = await say(options)

    for (const [quantized, file, least] of [
      ['q4', 'model_q4.onnx', 0.85],
      ['int8', 'model_quantized.onnx', 0.95],
    ] as const) {
      const { logits } = await say({ ...options, quantized: [quantized] }, { file, forced: floats.ids })
      const likeness = logits.map((logits, step) => cosine(logits, floats.logits[step] as Float32Array))
      const mean = likeness.reduce((sum, one) => sum + one, 0) / likeness.length
      assert.ok(mean > least && mean < 0.9999, `${quantized}: ${mean}`)
    }
  })
}

test('weights in a file of their own say the same, in every precision', async () => {
  const inside = { type: 'llama', quantized: ['q4', 'int8'] } as const
  const outside = { ...inside, externalData: true }

  for (const file of ['model.onnx', 'model_q4.onnx', 'model_quantized.onnx']) {
    assert.deepEqual((await say(outside, { file })).ids, (await say(inside, { file })).ids)
  }
})

test('with external data the graph’s own file is small', async () => {
  const [inside, outside] = [await build({ type: 'llama' }), await build({ type: 'llama', externalData: true })]
  const size = (dir: string, file: string): number => statSync(join(dir, 'onnx', file)).size

  assert.deepEqual(readdirSync(join(inside, 'onnx')), ['model.onnx'])
  assert.deepEqual(readdirSync(join(outside, 'onnx')).sort(), ['model.onnx', 'model.onnx_data'])
  assert.ok(size(outside, 'model.onnx') < 20_000)
  assert.ok(size(outside, 'model.onnx_data') > size(inside, 'model.onnx') - 20_000)
})

test('the same options give the same bytes, and a directory is under 2 MB', async () => {
  const options = { type: 'llama', layers: 3, heads: 6, quantized: ['q4', 'int8'], chatTemplate: 'file' } as const
  const [one, again] = [await build(options), await build(options)]
  const paths = (readdirSync(one, { recursive: true }) as string[]).filter((path) => path.includes('.')).sort()

  assert.deepEqual(paths, [
    'chat_template.jinja',
    'config.json',
    'onnx/model.onnx',
    'onnx/model_q4.onnx',
    'onnx/model_quantized.onnx',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
  for (const path of paths) assert.ok(readFileSync(join(one, path)).equals(readFileSync(join(again, path))), path)
  assert.ok(paths.reduce((sum, path) => sum + statSync(join(one, path)).size, 0) < 2_000_000)
})
