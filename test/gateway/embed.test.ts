import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import type { Gateway } from '../../src/gateway/gateway.js'
import { ConfigError, start } from '../../src/index.js'
import { Encoder } from '../../src/model/encoder.js'
import { encoderSource } from '../model/answer.js'
import { buildTinyModel } from '../model/tiny/build.js'
import { makeGateway, openGateway, script, submit, textOf, whole } from './harness.js'

const FOREVER = new AbortController().signal

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))
const dir = await buildTinyModel(join(temporary, 'bert'), { type: 'bert', context: 128 })

const emb = { source: { ...encoderSource(dir), name: 'emb' }, workers: 1 }
const scripted = { source: { type: 'scripted', name: 'scripted', slots: 4 }, workers: 1 } as const

const both = (t: TestContext): Promise<Gateway> => openGateway(t, { models: [emb, scripted] })

test('texts are embedded by the model that is named, or by the first encoder', async (t) => {
  const gateway = await both(t)
  const model = await Encoder.load(encoderSource(dir))
  const expected = await model.embed(['the word', 'a'])
  await model.close()

  const named = await gateway.embed('emb', ['the word', 'a'], FOREVER)
  const unnamed = await gateway.embed(undefined, ['the word', 'a'], FOREVER)

  assert.deepEqual(named, { model: 'emb', ...expected })
  assert.deepEqual(unnamed, named)
  assert.deepEqual(named.tokens, [4, 3])
})

test('an encoder is served and counts for readiness, but is never the default for tasks', async (t) => {
  const gateway = makeGateway(t, { models: [emb, scripted] })
  const before = gateway.ready
  await gateway.open()

  const record = await submit(gateway, script({ tokens: 2 }))

  assert.equal(textOf(await whole(gateway, record)), 'w0 w1 ')
  assert.deepEqual(gateway.models, ['emb', 'scripted'])
  assert.deepEqual(
    [before, gateway.ready, gateway.defaultModel, record.task.model],
    [false, true, 'scripted', 'scripted'],
  )
})

test('texts are accepted before the model is loaded, and wait for it', async (t) => {
  const gateway = makeGateway(t, { models: [emb] })

  const early = gateway.embed('emb', ['the word'], FOREVER)
  await gateway.open()

  assert.deepEqual((await early).tokens, [4])
})

test('a model that makes something else is refused by what it makes', async (t) => {
  const gateway = await both(t)

  await assert.rejects(submit(gateway, script({}, { model: 'emb' })), {
    code: 'invalid_request',
    param: 'model',
    message: 'model "emb" makes embeddings, not text',
  })
  await assert.rejects(gateway.embed('scripted', ['a'], FOREVER), {
    code: 'invalid_request',
    param: 'model',
    message: 'model "scripted" makes text, not embeddings',
  })
})

test('a model that is not served is not found', async (t) => {
  const gateway = await both(t)
  const [texts, encoders] = [makeGateway(t), makeGateway(t, { models: [emb] })]

  const missing = { code: 'model_not_found', param: 'model', message: 'no model "x"; served: emb, scripted' }
  await assert.rejects(submit(gateway, script({}, { model: 'x' })), missing)
  await assert.rejects(gateway.embed('x', ['a'], FOREVER), missing)
  await assert.rejects(texts.embed(undefined, ['a'], FOREVER), {
    code: 'model_not_found',
    message: 'no model makes embeddings; served: scripted',
  })
  await assert.rejects(submit(encoders, script({})), {
    code: 'model_not_found',
    message: 'no model makes text; served: emb',
  })
  assert.equal(encoders.defaultModel, null)
})

test('a text that the model has no room for is refused, and so is a caller over the bound', async (t) => {
  const gateway = await openGateway(t, { models: [emb], maxQueueBytes: 1000 })

  await assert.rejects(gateway.embed('emb', ['a '.repeat(127)], FOREVER), { code: 'prompt_too_long', status: 400 })
  await assert.rejects(gateway.embed('emb', ['a'.repeat(1001)], FOREVER), { code: 'queue_full', status: 429 })
})

test('a caller that goes away is told its own reason', async (t) => {
  const gateway = await both(t)
  const caller = new AbortController()

  const embedding = gateway.embed('emb', ['the word'], caller.signal)
  caller.abort(new Error('gone'))

  await assert.rejects(embedding, { message: 'gone' })
})

test('a drain lets accepted texts end and takes no more', async (t) => {
  const gateway = await both(t)
  const accepted = gateway.embed('emb', ['the word'], FOREVER)

  const drained = gateway.drain(60_000)
  await assert.rejects(gateway.embed('emb', ['late'], FOREVER), { code: 'draining' })
  await drained

  assert.deepEqual((await accepted).tokens, [4])
  assert.equal(gateway.ready, false)
})

test('a gateway is started with an encoder’s directory and lists it among its models', async (t) => {
  const running = await start({ port: 0, model: [`emb=${dir}`, 'scripted'], workers: 1, durability: 'none' })
  t.after(() => running.close())
  await running.ready

  const listed = await (await fetch(`${running.url}/v1/models`)).json()
  const { embeddings } = await running.gateway.embed('emb', ['the word'], FOREVER)

  assert.deepEqual(
    (listed as { data: { id: string }[] }).data.map(({ id }) => id),
    ['emb', 'scripted'],
  )
  assert.equal(embeddings[0]?.length, 64)
})

test('a directory that makes neither text nor embeddings is refused at the start in one line', async () => {
  const other = await buildTinyModel(join(temporary, 't5'), { type: 'bert' })
  writeFileSync(join(other, 'config.json'), '{"model_type":"t5","architectures":["T5Model"]}')

  await assert.rejects(start({ port: 0, model: [other], durability: 'none' }), (error: Error) => {
    assert.ok(error instanceof ConfigError)
    assert.match(
      error.message,
      /^--model .*config.json: model_type "t5", architectures \["T5Model"\] is neither a decoder/,
    )
    return true
  })
})
