import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { loadModel } from '../../src/model/load.js'
import { parseModel } from '../../src/model/source.js'
import { MODEL_DIR, onnxSource } from './answer.js'

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

test('a source loads in the thread that asks for it', async () => {
  const scripted = await loadModel({ type: 'scripted', name: 'scripted', slots: 7 })
  const onnx = await loadModel(onnxSource(MODEL_DIR, { slots: 3 }))

  assert.deepEqual([scripted.slots, onnx.slots], [7, 3])

  await scripted.close()
  await onnx.close()
})
