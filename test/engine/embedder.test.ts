import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Embedder, type EmbedderOptions, type Embeddings } from '../../src/engine/embedder.js'
import { EncoderThreads } from '../../src/engine/encoder-threads.js'
import { Encoder } from '../../src/model/encoder.js'
import { encoderSource } from '../model/answer.js'
import { buildTinyModel } from '../model/tiny/build.js'
import { until } from '../until.js'
import { FakeEncoders, type Piece, vectorOf } from './fake-encoders.js'

const SILENT = { info: () => {}, warn: () => {}, error: () => {} }
const OPTIONS: EmbedderOptions = { model: 'emb', maxQueue: 100, maxQueueBytes: 1_000_000, maxAttempts: 3 }
const FOREVER = new AbortController().signal

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))
const dir = await buildTinyModel(join(temporary, 'bert'), { type: 'bert', context: 128 })

type Faked = {
  embedder: Embedder
  encoders: FakeEncoders
  embed: (texts: string[], signal?: AbortSignal) => Promise<Embeddings>
  /** The n-th piece that was given out, from 0. */
  piece: (n: number) => Promise<Piece>
}

const fake = (options: Partial<EmbedderOptions> = {}, threads = 1): Faked => {
  const encoders = new FakeEncoders(threads)
  const embedder = new Embedder({ ...OPTIONS, ...options }, encoders, SILENT)
  return {
    embedder,
    encoders,
    embed: (texts, signal = FOREVER) => embedder.embed(texts, signal),
    piece: (n) => until(`piece ${n}`, () => encoders.pieces[n]),
  }
}

type Threaded = { embedder: Embedder; encoders: EncoderThreads; warnings: string[] }

const threads = async (t: TestContext, workers = 1): Promise<Threaded> => {
  const warnings: string[] = []
  const encoders = new EncoderThreads(encoderSource(dir), workers)
  const embedder = new Embedder(OPTIONS, encoders, { ...SILENT, warn: (_, message) => warnings.push(message) })
  t.after(() => embedder.close())
  await embedder.open()
  return { embedder, encoders, warnings }
}

/** So many bytes that no two fit into a piece. */
const long = (letter: string): string => letter.repeat(1500)

test('embeddings come from real threads in the order of the texts, as the model gives them', async (t) => {
  const { embedder, encoders } = await threads(t, 2)
  const texts = Array.from({ length: 200 }, (_, i) => `the word ${'and '.repeat(i % 40)}${i}`)

  const [many, one] = await Promise.all([embedder.embed(texts, FOREVER), embedder.embed(['the word'], FOREVER)])

  const model = await Encoder.load(encoderSource(dir))
  const [expected, single] = [await model.embed(texts), await model.embed(['the word'])]
  await model.close()
  assert.equal(encoders.ready, true)
  assert.deepEqual(many.tokens, expected.tokens)
  assert.deepEqual(one.tokens, single.tokens)
  for (const [i, embedding] of [...many.embeddings, ...one.embeddings].entries()) {
    const other = [...expected.embeddings, ...single.embeddings][i] as Float32Array
    assert.ok(
      embedding.every((value, j) => Math.abs(value - (other[j] as number)) < 1e-5),
      `text ${i}`,
    )
  }
})

test('a request of thousands of texts does not hold up a small one', async (t) => {
  const { embedder } = await threads(t)
  const order: string[] = []
  const texts = Array.from({ length: 3000 }, (_, i) => `the word ${i}`)

  const big = embedder.embed(texts, FOREVER).then(() => order.push('big'))
  const small = embedder.embed(['a word'], FOREVER).then(() => order.push('small'))
  await Promise.all([big, small])

  assert.deepEqual(order, ['small', 'big'])
})

test('a text that is refused is told with its place, and no other request is', async (t) => {
  const { embedder } = await threads(t)

  const refused = embedder.embed(['a', 'b', 'a '.repeat(200)], FOREVER)
  const other = embedder.embed(['a'], FOREVER)

  await assert.rejects(refused, {
    name: 'RejoinError',
    code: 'prompt_too_long',
    message: 'text 2: the text has 202 tokens, but the model has positions for 128',
  })
  await assert.rejects(embedder.embed([''], FOREVER), { code: 'invalid_prompt', message: 'the text is empty' })
  assert.deepEqual((await other).tokens, [3])
})

test('a thread that dies is replaced, and what it had is embedded by the next', async (t) => {
  const { embedder, encoders, warnings } = await threads(t)
  // One word of a megabyte keeps the tokenizer busy for long; the thread ends there, and not inside ONNX Runtime.
  const word = 'a'.repeat(900_000)
  const [first] = encoders.workers

  const both = embedder.embed(['the word', word], FOREVER)
  const dead = first?.terminate()

  assert.deepEqual((await both).tokens, [4, 3])
  await dead
  assert.deepEqual(warnings, ['a worker was lost'])
  assert.notEqual(encoders.workers[0], first)
})

test('an idle thread that dies is replaced', async (t) => {
  const { embedder, encoders } = await threads(t)

  await encoders.workers[0]?.terminate()

  assert.deepEqual((await embedder.embed(['the word'], FOREVER)).tokens, [4])
})

test('close waits for what runs and refuses what waits', async () => {
  const encoders = new EncoderThreads(encoderSource(dir), 1)
  const embedder = new Embedder(OPTIONS, encoders, SILENT)
  await embedder.open()
  const requests = Array.from({ length: 5 }, () => embedder.embed([long('a'), long('b')], FOREVER))
  const outcomes = Promise.allSettled(requests)

  await embedder.close()

  for (const outcome of await outcomes) assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'draining')
  assert.equal(encoders.workers.length, 0)
  await assert.rejects(embedder.embed(['a'], FOREVER), { code: 'draining' })
})

test('threads that were never opened, or are loading, close', async () => {
  const never = new EncoderThreads(encoderSource(dir), 2)
  const loading = new EncoderThreads(encoderSource(dir), 2)
  const opened = loading.open()

  await Promise.all([never.close(), loading.close()])

  await opened
  assert.deepEqual([never.workers.length, loading.workers.length, never.ready], [0, 0, false])
})

test('a model that cannot be loaded is refused with its name and the reason, and fails what asks for it', async (t) => {
  const encoders = new EncoderThreads({ ...encoderSource(dir), name: 'broken', dir: '/nonexistent' }, 2)
  const embedder = new Embedder(OPTIONS, encoders, SILENT)
  t.after(() => embedder.close())

  await assert.rejects(embedder.open(), /^Error: model broken: .*\/nonexistent/)

  assert.equal(encoders.ready, false)
  await assert.rejects(embedder.embed(['a'], FOREVER), {
    code: 'model_failed',
    message: /^no worker can load the model: .*\/nonexistent/,
  })
})

test('requests take turns, a text each, and their texts share pieces', async () => {
  const { embed, piece } = fake()
  const blocker = embed([long('x')])

  const requests = [embed(['a', 'aaa', 'aa']), embed(['b']), embed(['c', 'cc'])]
  ;(await piece(0)).answer()
  const { texts, answer } = await piece(1)
  answer()

  await blocker
  assert.deepEqual(texts, ['aaa', 'b', 'cc', 'aa', 'c', 'a'])
  const [a] = await Promise.all(requests)
  assert.deepEqual(a, { embeddings: ['a', 'aaa', 'aa'].map(vectorOf), tokens: [1, 3, 2] })
})

test('a piece is bounded, and what does not fit is the first of the next', async () => {
  const { embed, encoders, piece } = fake()
  const big = embed([long('a'), long('b'), 'tiny', long('c')])

  for (let n = 0; n < 3; n++) {
    await until('a piece of its own', () => encoders.pieces.length === n + 1)
    ;(await piece(n)).answer()
  }

  assert.equal((await big).embeddings.length, 4)
  assert.deepEqual(
    encoders.pieces.map(({ texts }) => texts.map((text) => text.length)),
    [[1500], [1500], [1500, 4]],
  )
})

test('every free thread gets a piece', async () => {
  const { embed, encoders } = fake({}, 2)

  const big = embed([long('a'), long('b'), long('c')])
  const running = encoders.pieces.length
  for (const { answer } of encoders.pieces) answer()
  await until('the third', () => encoders.pieces.length === 3)
  encoders.pieces[2]?.answer()

  await big
  assert.equal(running, 2)
})

test('texts of a caller that is gone are dropped, and those that run are of no use to anybody', async () => {
  const { embed, encoders, piece } = fake()
  const caller = new AbortController()
  const gone = embed([long('a'), long('b'), long('c')], caller.signal)
  const stays = embed(['d'])

  caller.abort(new Error('the caller went away'))
  await assert.rejects(gone, { message: 'the caller went away' })
  ;(await piece(0)).answer()
  ;(await piece(1)).answer()
  await stays
  await turn()

  assert.deepEqual(
    encoders.pieces.map(({ texts }) => texts[0]?.[0]),
    ['a', 'd'],
  )
  await assert.rejects(embed(['e'], caller.signal), { message: 'the caller went away' })
})

test('a full queue answers, and has room again when texts are taken or dropped', async () => {
  const { embed, piece } = fake({ maxQueue: 2, maxQueueBytes: 4000 })
  const caller = new AbortController()
  const runs = embed([long('a')])
  const [one, two] = [embed(['b'], caller.signal), embed(['c'])]

  await assert.rejects(embed(['d']), {
    code: 'queue_full',
    message: '2 requests may wait for embeddings of emb, the bound',
    retryAfterS: 1,
  })
  caller.abort()
  await assert.rejects(one, { name: 'AbortError' })
  await assert.rejects(embed(['é'.repeat(2000)]), {
    code: 'queue_full',
    message: 'texts of 4000 bytes may wait for embeddings of emb, the bound',
  })
  const three = embed(['é'.repeat(1999)])
  ;(await piece(0)).answer()
  ;(await piece(1)).answer()
  ;(await piece(2)).answer()

  assert.deepEqual(
    (await Promise.all([runs, two, three])).map(({ tokens }) => tokens),
    [[1500], [1], [1999]],
  )
})

test('texts of a lost thread are the next to run, each alone; a request that loses too many fails by itself', async () => {
  const { embed, encoders, piece } = fake({ maxAttempts: 2 })
  const blocker = embed(['blocker'])
  const [poison, neighbour] = [embed(['poison']), embed(['word', 'words'])]
  const failed = assert.rejects(poison, {
    code: 'worker_lost',
    message: 'the worker died in attempt 2 of 2: worker exited with code: 1',
  })

  ;(await piece(0)).answer()
  const shared = await piece(1)
  const later = embed(['later'])
  shared.lose('worker exited with code: 1')
  ;(await piece(2)).lose('worker exited with code: 1')
  for (const n of [3, 4, 5]) (await piece(n)).answer()

  await Promise.all([blocker, failed, later])
  assert.deepEqual((await neighbour).tokens, [4, 5])
  assert.deepEqual(
    encoders.pieces.map(({ texts }) => texts),
    [['blocker'], ['poison', 'words', 'word'], ['poison'], ['words'], ['later'], ['word']],
  )
})

test('a drain gives what was accepted its time, and then refuses it', async () => {
  const { embedder, embed, piece } = fake()
  const first = embed(['a'])

  const drained = embedder.drain(60_000)
  ;(await piece(0)).answer()
  await drained
  assert.deepEqual((await first).tokens, [1])

  const other = fake()
  const late = other.embed(['a'])
  const refused = assert.rejects(late, { code: 'draining' })
  await other.embedder.drain(1)
  await refused
  await assert.rejects(other.embed(['b']), { code: 'draining' })
})
