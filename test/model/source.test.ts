import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { loadModel } from '../../src/model/load.js'
import { readKind } from '../../src/model/model-kind.js'
import { parseModel } from '../../src/model/source.js'
import { encoderSource, MODEL_DIR, onnxSource } from './answer.js'
import { buildTinyModel } from './tiny/build.js'

const BUILTIN = '/package/models/default'

test('a model is the built-in one, the scripted one, a directory, or a name for a directory', () => {
  const onnx = (name: string, dir: string) => ({ type: 'onnx', name, dir })

  assert.deepEqual(parseModel('scripted', BUILTIN), { type: 'scripted', name: 'scripted' })
  assert.deepEqual(parseModel('default', BUILTIN), onnx('default', '/package/models/default'))
  assert.deepEqual(parseModel('/models/qwen/', BUILTIN), onnx('qwen', '/models/qwen'))
  assert.deepEqual(parseModel('chat=/models/qwen', BUILTIN), onnx('chat', '/models/qwen'))
  assert.deepEqual(parseModel('chat=scripted', BUILTIN), onnx('chat', resolve('scripted')))
  assert.deepEqual(parseModel('/models/a=b', BUILTIN), onnx('a=b', '/models/a=b'))
})

test('a model without a name or a directory is refused', () => {
  for (const text of ['', 'chat=', '=/models/qwen', '/']) {
    assert.throws(() => parseModel(text, BUILTIN), /model ".*": the (name|directory) is empty/, text)
  }
})

test('a directory that is no model is told which file it lacks', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-'))
  t.after(() => rmSync(dir, { recursive: true }))

  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx']) {
    assert.throws(() => onnxSource(dir), { message: `model directory ${dir} has no ${file}` })
    mkdirSync(join(dir, 'onnx'), { recursive: true })
    writeFileSync(join(dir, file), '{}')
  }
  assert.equal(onnxSource(MODEL_DIR).file, 'onnx/model.onnx')
  assert.throws(() => onnxSource('/nowhere'), /model directory \/nowhere does not exist/)
})

test('what a directory makes is known from its small files', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const kind = (config: object): string => {
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config))
    return readKind(dir)
  }

  assert.equal(kind({ model_type: 'llama', architectures: ['LlamaForCausalLM'] }), 'decoder')
  assert.equal(kind({ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] }), 'decoder')
  assert.equal(kind({ model_type: 'never_heard_of' }), 'decoder')
  assert.equal(kind({ model_type: 'bert', architectures: ['BertLMHeadModel'], is_decoder: true }), 'decoder')
  assert.equal(kind({ model_type: 'bert', architectures: ['BertModel'] }), 'encoder')
  assert.equal(kind({ model_type: 'xlm-roberta', architectures: ['XLMRobertaForMaskedLM'] }), 'encoder')
  assert.equal(kind({ model_type: 'modernbert' }), 'encoder')
  assert.throws(
    () => kind({ model_type: 't5', architectures: ['T5ForConditionalGeneration'], is_encoder_decoder: true }),
    {
      message: `${dir}/config.json: model_type "t5", architectures ["T5ForConditionalGeneration"] is neither a decoder (…ForCausalLM, …LMHeadModel) nor a known encoder (bert, roberta …)`,
    },
  )
  assert.throws(() => kind({ model_type: 'clip', architectures: ['CLIPModel'] }), /model_type "clip".* is neither/)
  writeFileSync(join(dir, 'modules.json'), '[]')
  assert.equal(kind({ model_type: 'clip', architectures: ['CLIPModel'] }), 'encoder')
})

test('an encoder’s source has what its threads need and nothing of slots and caches', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-'))
  t.after(() => rmSync(dir, { recursive: true }))
  await buildTinyModel(dir, { type: 'bert', pooling: 'cls', context: 48, quantized: ['int8'] })

  assert.deepEqual(encoderSource(dir, { threads: 2, file: 'onnx/model_quantized.onnx' }), {
    type: 'encoder',
    name: 'test',
    dir,
    file: 'onnx/model_quantized.onnx',
    contextTokens: 48,
    padId: 0,
    pooling: { type: 'cls' },
    threads: 2,
  })
  assert.throws(() => encoderSource(dir, { file: 'onnx/other.onnx' }), /has no onnx\/other.onnx; name one of its files/)
})

test('a source loads in the thread that asks for it', async () => {
  const scripted = await loadModel({ type: 'scripted', name: 'scripted', slots: 7 })
  const onnx = await loadModel(onnxSource(MODEL_DIR, { slots: 3 }))

  assert.deepEqual([scripted.slots, onnx.slots], [7, 3])

  await scripted.close()
  await onnx.close()
})
