import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { loadModel } from '../../src/model/load.js'
import { checkModelDir, parseModelSource } from '../../src/model/source.js'
import { MODEL_DIR } from './answer.js'

const options = { scriptedSlots: 4096, slots: 8, builtinDir: '/package/models/default' }

test('a model is the built-in one, the scripted one, a directory, or a name for a directory', () => {
  const onnx = (name: string, dir: string) => ({ type: 'onnx', name, dir, slots: 8 })

  assert.deepEqual(parseModelSource('scripted', options), { type: 'scripted', name: 'scripted', slots: 4096 })
  assert.deepEqual(parseModelSource('default', options), onnx('default', '/package/models/default'))
  assert.deepEqual(parseModelSource('/models/qwen/', options), onnx('qwen', '/models/qwen'))
  assert.deepEqual(parseModelSource('chat=/models/qwen', options), onnx('chat', '/models/qwen'))
  assert.deepEqual(parseModelSource('chat=scripted', options), onnx('chat', resolve('scripted')))
  assert.deepEqual(parseModelSource('/models/a=b', options), onnx('a=b', '/models/a=b'))
})

test('a model without a name or a directory is refused', () => {
  for (const text of ['', 'chat=', '=/models/qwen', '/']) {
    assert.throws(() => parseModelSource(text, options), /model ".*": the (name|directory) is empty/, text)
  }
})

test('a directory that is no model is told which file it lacks', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-'))
  t.after(() => rmSync(dir, { recursive: true }))

  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx']) {
    assert.throws(() => checkModelDir(dir), { message: `model directory ${dir} has no ${file}` })
    mkdirSync(join(dir, 'onnx'), { recursive: true })
    writeFileSync(join(dir, file), '{}')
  }
  checkModelDir(dir)
  checkModelDir(MODEL_DIR)
  assert.throws(() => checkModelDir('/nowhere'), /model directory \/nowhere does not exist/)
})

test('a source loads in the thread that asks for it', async () => {
  const scripted = await loadModel({ type: 'scripted', name: 'scripted', slots: 7 })
  const onnx = await loadModel({ type: 'onnx', name: 'default', dir: MODEL_DIR, slots: 3 })

  assert.deepEqual([scripted.slots, onnx.slots], [7, 3])

  await scripted.close()
  await onnx.close()
})

test('a model that is not there is one line of error', async () => {
  await assert.rejects(loadModel({ type: 'onnx', name: 'x', dir: '/nowhere', slots: 1 }), {
    message: 'model directory /nowhere does not exist',
  })
})
