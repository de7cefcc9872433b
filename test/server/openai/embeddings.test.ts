import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { buildTinyModel } from '../../model/tiny/build.js'
import { refusal, startClient } from './client.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))
const dir = await buildTinyModel(join(temporary, 'bert'), { type: 'bert', context: 128 })
const config = { model: [`emb=${dir}`], workers: 1 }

test('texts become vectors, as numbers or in the base64 that the stock client asks for by itself', async (t) => {
  const { openai } = await startClient(t, config)
  const request = { model: 'emb', input: ['the word', 'a'] }

  const decoded = await openai.embeddings.create(request)
  const numbers = await openai.embeddings.create({ ...request, encoding_format: 'float' })
  const alone = await openai.embeddings.create({ model: 'emb', input: 'a' })

  assert.deepEqual(decoded, numbers)
  assert.deepEqual(
    decoded.data.map(({ index, object }) => [index, object]),
    [
      [0, 'embedding'],
      [1, 'embedding'],
    ],
  )
  assert.deepEqual([decoded.model, decoded.usage], ['emb', { prompt_tokens: 7, total_tokens: 7 }])
  const length = Math.hypot(...(decoded.data[0]?.embedding ?? []))
  assert.ok(Math.abs(length - 1) < 1e-6)
  // A text that shares its batch may differ in the last bit.
  const [one, other] = [alone.data[0]?.embedding ?? [], decoded.data[1]?.embedding ?? []]
  assert.ok(one.length > 0 && one.every((value, at) => Math.abs(value - (other[at] as number)) < 1e-6))
})

test('what cannot be embedded is refused by its name', async (t) => {
  const { openai } = await startClient(t, config)
  const refused = async (fields: object): Promise<unknown[]> => {
    const { status, code, param } = await refusal(openai.embeddings.create({ model: 'emb', input: 'a', ...fields }))
    return [status, code, param]
  }

  assert.deepEqual(await refused({ input: [] }), [400, 'invalid_request', 'input'])
  assert.deepEqual(await refused({ input: [1, 2] }), [400, 'unsupported_field', 'input'])
  assert.deepEqual(await refused({ input: ['a', 1] }), [400, 'invalid_request', 'input.1'])
  assert.deepEqual(await refused({ dimensions: 4 }), [400, 'unsupported_field', 'dimensions'])
  assert.deepEqual(await refused({ input: Array(2049).fill('a') }), [400, 'invalid_request', 'input'])
  assert.deepEqual((await refused({ model: 'other' })).slice(0, 2), [404, 'model_not_found'])
  assert.deepEqual((await refused({ input: ['a', 'word '.repeat(200)] })).slice(0, 2), [400, 'prompt_too_long'])
})
