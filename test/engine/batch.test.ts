import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { BatchLoop } from '../../src/engine/batch.js'
import type { Admitted, End, FromWorker, Handle, ToWorker } from '../../src/engine/messages.js'
import { until } from '../until.js'
import { FakeModel, type Word } from './fake-model.js'

type Said = { handle: Handle; text: string; ids: number[] }

/** The main thread's side of a batch loop that runs over a real port. */
class Talk {
  readonly model: FakeModel
  readonly admitted: Admitted[] = []
  readonly said: Said[] = []
  readonly ends: End[] = []
  readonly logprobs: [Handle, string[]][] = []
  slots = 0
  flushes = 0
  /** Of life, without words. */
  signs = 0
  over: 'stopped' | Error | null = null
  readonly #channel = new MessageChannel()

  constructor(t: TestContext, { slots = 2, maxInFlight = 1000 } = {}) {
    this.model = new FakeModel(slots)
    const { port1, port2 } = this.#channel
    new BatchLoop(this.model, port2, maxInFlight).run().then(
      () => {
        this.over = 'stopped'
      },
      (error: Error) => {
        this.over = error
      },
    )
    t.after(() => {
      port1.close()
      port2.close()
    })
  }

  /** As the main thread does with a loop that it gives up. */
  hangUp(): void {
    this.#channel.port1.close()
  }

  post(...messages: ToWorker[]): void {
    this.#channel.port1.postMessage(messages)
  }

  /** Waits until the loop has said what `look` wants to see. */
  until(what: string, look: () => boolean): Promise<boolean> {
    return until(what, () => {
      this.#receive()
      return look()
    })
  }

  /** The end of this task. */
  async end(handle: Handle): Promise<End> {
    await this.until(`end of ${handle}`, () => this.ends.some((end) => end.handle === handle))
    return this.ends.find((end) => end.handle === handle) as End
  }

  text(handle: Handle): string {
    return this.#of(handle)
      .map(({ text }) => text)
      .join('')
  }

  ids(handle: Handle): number[] {
    return this.#of(handle).flatMap(({ ids }) => ids)
  }

  #of(handle: Handle): Said[] {
    return this.said.filter((said) => said.handle === handle)
  }

  #receive(): void {
    const { port1 } = this.#channel
    for (let next = receiveMessageOnPort(port1); next; next = receiveMessageOnPort(port1)) {
      const message = next.message as FromWorker
      if (message.type === 'ready') {
        this.slots = message.slots
        continue
      }
      if (message.type === 'alive') {
        this.signs++
        continue
      }
      const { admitted, cells, events, ends } = message
      const ended = new Set(this.ends.map(({ handle }) => handle))
      this.flushes++
      this.admitted.push(...admitted)
      let count = 0
      for (let at = 0; at < cells.length; count++) {
        const [handle, text, tokens] = cells.slice(at, at + 3) as [Handle, string, number]
        assert.ok(!ended.has(handle), `words of ${handle} after its end`)
        this.said.push({ handle, text, ids: cells.slice(at + 3, at + 3 + tokens) as number[] })
        at += 3 + tokens
      }
      assert.equal(events, count, 'the flush counts its events')
      this.ends.push(...ends)
      this.logprobs.push(...message.logprobs)
    }
  }
}

const start = (
  handle: Handle,
  words: Word[],
  more: { maxTokens?: number; recorded?: number[]; stop?: string[]; topLogprobs?: number } = {},
): ToWorker => {
  const { maxTokens = null, recorded = [], stop = [], topLogprobs = null } = more
  const prompt = { type: 'text', text: JSON.stringify(words) } as const
  const generation = { prompt, promptIds: null, sampling: { seed: 1 }, maxTokens, recorded, topLogprobs }
  return { type: 'start', handle, generation, stop }
}

/** `count` tokens `a `, then nothing. */
const endless = (count = 1000): Word[] => Array.from({ length: count }, (_, id): Word => [id, 'a '])

test('the loop says first how many slots there are', async (t) => {
  const talk = new Talk(t, { slots: 3 })

  await talk.until('ready', () => talk.slots > 0)

  assert.equal(talk.slots, 3)
})

test('an answer is admitted, said and ended, and its slot is released', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(1, [
      [5, 'he'],
      [6, 'llo', 'stop'],
    ]),
  )
  const end = await talk.end(1)

  assert.deepEqual(talk.admitted, [{ handle: 1, promptTokens: 7, maxTokens: 1000 }])
  assert.deepEqual([talk.text(1), talk.ids(1)], ['hello', [5, 6]])
  assert.deepEqual(end, { handle: 1, type: 'completed', finishReason: 'stop', cachedTokens: 0 })
  assert.deepEqual(talk.model.calls, ['admit', 'step', 'step', 'release'])
})

test('the first token goes out at once, while the next step runs', async (t) => {
  const talk = new Talk(t)
  talk.post(start(1, endless()))

  talk.model.allow(1)
  await talk.until('the first token', () => talk.said.length > 0)

  assert.deepEqual(talk.model.calls, ['admit', 'step'])
})

test('a cancel acts before the next step and frees the slot for whoever comes', async (t) => {
  const talk = new Talk(t, { slots: 1 })
  talk.post(start(1, endless()))
  talk.model.allow(1)
  await talk.until('the first token', () => talk.said.length > 0)

  talk.post({ type: 'cancel', handle: 1 }, start(2, [[9, 'b', 'stop']]))
  await turn()
  talk.model.allow(2)
  const canceled = await talk.end(1)
  await talk.end(2)

  assert.deepEqual(canceled, { handle: 1, type: 'canceled' })
  assert.deepEqual(talk.model.calls, ['admit', 'step', 'step', 'release', 'admit', 'step', 'release'])
  assert.deepEqual(talk.ids(1), [0, 1])
})

test('a pause frees the slot before the next step, and the answer goes on later with what it had said', async (t) => {
  const talk = new Talk(t, { slots: 1 })
  const words: Word[] = [
    [0, 'a'],
    [1, 'b'],
    [2, 'c', 'stop'],
  ]
  talk.post(start(1, words))
  talk.model.allow(1)
  await talk.until('the first token', () => talk.said.length > 0)

  talk.post({ type: 'pause', handle: 1 }, start(2, [[9, 'x', 'stop']]))
  await turn()
  talk.model.allow(2)
  const paused = await talk.end(1)
  await talk.end(2)
  talk.model.allow(1)
  talk.post(start(3, words, { recorded: talk.ids(1) }))
  await talk.end(3)

  assert.deepEqual(paused, { handle: 1, type: 'paused' })
  assert.deepEqual(talk.model.calls.slice(0, 5), ['admit', 'step', 'step', 'release', 'admit'])
  assert.equal(talk.text(1) + talk.text(3), 'abc')
})

test('what is held back for a stop string is not said at a pause, and is made again', async (t) => {
  const talk = new Talk(t)
  const words: Word[] = [
    [0, 'a'],
    [1, 'b'],
    [2, '<'],
    [3, 'c', 'stop'],
  ]
  talk.post(start(1, words, { stop: ['<end>'] }))
  talk.model.allow(2)
  await talk.until('two steps', () => talk.model.calls.filter((call) => call === 'step').length === 2)

  talk.post({ type: 'pause', handle: 1 })
  talk.model.allow(1)
  const paused = await talk.end(1)
  const said = talk.text(1)
  talk.model.allow(2)
  talk.post(start(2, words, { stop: ['<end>'], recorded: talk.ids(1) }))
  await talk.end(2)

  assert.deepEqual([paused.type, said], ['paused', 'ab'])
  assert.equal(talk.text(1) + talk.text(2), 'ab<c')
})

test('a pause that crosses the end on its way means nothing, and one before admission costs no prefill', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)
  talk.post(start(1, [[0, 'x', 'stop']]))
  await talk.end(1)

  talk.post({ type: 'pause', handle: 1 }, start(2, endless()), { type: 'pause', handle: 2 })

  assert.equal((await talk.end(2)).type, 'paused')
  assert.deepEqual(
    talk.ends.map(({ handle }) => handle),
    [1, 2],
  )
  assert.deepEqual(talk.model.calls, ['admit', 'step', 'release'])
})

test('a row that cannot go on fails alone', async (t) => {
  const talk = new Talk(t)
  const error = { code: 'model_failed', message: 'the model gave logits that are not finite' }
  talk.model.allow(10)

  talk.post(
    start(1, [
      [0, 'a'],
      [-1, '', 'failed', { error }],
    ]),
    start(2, [
      [0, 'x'],
      [1, 'y'],
      [2, 'z', 'stop'],
    ]),
  )

  assert.deepEqual(await talk.end(1), { handle: 1, type: 'failed', ...error })
  assert.equal((await talk.end(2)).type, 'completed')
  assert.deepEqual([talk.text(1), talk.text(2)], ['a', 'xyz'])
})

test('logprobs go out with their tokens, in order, also of tokens that were held back', async (t) => {
  const talk = new Talk(t)
  const likely = (token: string) => ({ token, bytes: [], logprob: -1, top_logprobs: [] })
  const words: Word[] = ['a', '<', 'b', 'c'].map((token, id) => [
    id,
    token,
    id === 3 ? 'stop' : null,
    { logprobs: likely(token) },
  ])
  talk.model.allow(10)

  talk.post(start(1, words, { stop: ['<end>'], topLogprobs: 0 }), start(2, words))
  await talk.end(1)
  await talk.end(2)

  assert.deepEqual([...new Set(talk.logprobs.map(([handle]) => handle))], [1])
  const parsed = talk.logprobs.flatMap(([, json]) => json.map((text) => JSON.parse(text)))
  assert.deepEqual(parsed, ['a', '<', 'b', 'c'].map(likely))
})

test('the end tells how much of the prompt was cached', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(1, [
      [0, 'a', null, { cachedTokens: 48 }],
      [1, 'b', 'stop'],
    ]),
  )

  assert.deepEqual(await talk.end(1), { handle: 1, type: 'completed', finishReason: 'stop', cachedTokens: 48 })
})

test('a cancel leaves the other rows alone', async (t) => {
  const talk = new Talk(t)
  talk.post(
    start(1, endless()),
    start(2, [
      [0, 'x'],
      [1, 'y'],
      [2, 'z', 'stop'],
    ]),
  )
  // A busy machine may admit the second one only after the first step.
  for (const handle of [1, 2]) {
    talk.model.allow(1)
    await talk.until('the first token', () => talk.ids(handle).length > 0)
  }

  talk.post({ type: 'cancel', handle: 1 })
  talk.model.allow(3)
  await talk.end(2)

  assert.equal((await talk.end(1)).type, 'canceled')
  assert.equal(talk.text(2), 'xyz')
})

test('what is canceled before it is admitted never costs a prefill', async (t) => {
  const talk = new Talk(t)

  talk.post(start(1, endless()), { type: 'cancel', handle: 1 })
  const end = await talk.end(1)

  assert.deepEqual(end, { handle: 1, type: 'canceled' })
  assert.deepEqual(talk.model.calls, [])
})

test('a cancel that crosses the end on its way means nothing', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)
  talk.post(start(1, [[0, 'x', 'stop']]))
  await talk.end(1)

  talk.post({ type: 'cancel', handle: 1 }, start(2, [[0, 'x', 'stop']]))
  await talk.end(2)

  assert.equal(talk.ends.length, 2)
})

test('an answer ends with `length` at the number of tokens that it may have', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(start(1, endless(), { maxTokens: 3 }))
  const end = await talk.end(1)

  assert.deepEqual(end, { handle: 1, type: 'completed', finishReason: 'length', cachedTokens: 0 })
  assert.deepEqual(talk.ids(1), [0, 1, 2])
})

test('an answer goes on after its recorded tokens, which count', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(start(1, endless(), { maxTokens: 5, recorded: [0, 1, 2] }))
  await talk.end(1)

  assert.deepEqual(talk.model.generations[0]?.recorded, [0, 1, 2])
  assert.deepEqual(talk.ids(1), [3, 4])
})

test('an answer that lost its worker after its last token ends without another step', async (t) => {
  const talk = new Talk(t)

  talk.post(start(1, endless(), { maxTokens: 3, recorded: [0, 1, 2] }))
  const end = await talk.end(1)

  assert.deepEqual(end, { handle: 1, type: 'completed', finishReason: 'length', cachedTokens: 0 })
  assert.deepEqual(talk.model.calls, ['admit', 'release'])
  assert.deepEqual(talk.ids(1), [])
})

test('the tokens of one character go out together, when it is whole', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(1, [
      [1, 'a'],
      [2, ''],
      [3, ''],
      [4, '😀'],
      [5, 'b', 'stop'],
    ]),
  )
  await talk.end(1)

  assert.deepEqual(talk.said, [
    { handle: 1, text: 'a', ids: [1] },
    { handle: 1, text: '😀', ids: [2, 3, 4] },
    { handle: 1, text: 'b', ids: [5] },
  ])
})

test('tokens of a character that never became whole count, and show nothing', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(
      1,
      [
        [1, 'a'],
        [2, ''],
        [3, ''],
      ],
      { maxTokens: 3 },
    ),
  )
  await talk.end(1)

  assert.deepEqual([talk.text(1), talk.ids(1)], ['a', [1, 2, 3]])
})

test('an end without a token has no id', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(1, [
      [1, 'a'],
      [-1, '', 'stop'],
    ]),
  )
  const end = await talk.end(1)

  assert.deepEqual(end, { handle: 1, type: 'completed', finishReason: 'stop', cachedTokens: 0 })
  assert.deepEqual(talk.ids(1), [1])
})

test('of several tokens in one step those after the end are dropped', async (t) => {
  const talk = new Talk(t)
  talk.model.burst = 10
  talk.model.allow(2)

  talk.post(
    start(1, endless(10), { maxTokens: 4 }),
    start(
      2,
      [
        [0, 'ab'],
        [1, 'c'],
        [2, 'd'],
      ],
      { stop: ['bc'] },
    ),
  )
  await talk.end(1)
  await talk.end(2)

  assert.deepEqual(talk.ids(1), [0, 1, 2, 3])
  assert.deepEqual([talk.text(2), talk.ids(2)], ['a', [0, 1]])
})

test('an answer ends before its stop string, and says so', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(
      1,
      [
        [0, 'one '],
        [1, 'S'],
        [2, 'TO'],
        [3, 'P!'],
        [4, 'no'],
      ],
      { stop: ['STOP'] },
    ),
  )
  const end = await talk.end(1)

  assert.deepEqual(end, { handle: 1, type: 'completed', finishReason: 'stop_sequence', cachedTokens: 0 })
  assert.deepEqual([talk.text(1), talk.ids(1)], ['one ', [0, 1, 2, 3]])
})

test('what was held back for a stop string is said when the answer ends otherwise', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)

  talk.post(
    start(
      1,
      [
        [0, 'S'],
        [1, 'T', 'stop'],
      ],
      { stop: ['STOP'] },
    ),
  )
  await talk.end(1)

  assert.deepEqual([talk.text(1), talk.ids(1)], ['ST', [0, 1]])
})

test('a prompt that is refused ends its task with the code, and leaves the slot free', async (t) => {
  const talk = new Talk(t, { slots: 1 })
  talk.model.allow(10)
  const chat = start(1, []) as Extract<ToWorker, { type: 'start' }>
  chat.generation.prompt = { type: 'chat', messages: [] }

  talk.post(chat, start(2, [[0, 'x', 'stop']]))
  const refused = await talk.end(1)
  const next = await talk.end(2)

  assert.deepEqual(refused, { handle: 1, type: 'failed', code: 'invalid_prompt', message: 'no chat here' })
  assert.equal(next.type, 'completed')
})

test('a defect of the model while it admits ends that task as `model_failed`', async (t) => {
  const talk = new Talk(t)
  const broken = start(1, []) as Extract<ToWorker, { type: 'start' }>
  broken.generation.prompt = { type: 'text', text: '{' }

  talk.post(broken)
  const end = await talk.end(1)

  assert.deepEqual([end.type, end.type === 'failed' && end.code], ['failed', 'model_failed'])
})

test('a loop whose tokens are not acknowledged waits, and goes on when they are', async (t) => {
  const maxInFlight = 100
  const talk = new Talk(t, { slots: 1, maxInFlight })
  talk.model.allow(1000)
  talk.post(start(1, endless()))

  await talk.until('the bound', () => talk.said.length >= maxInFlight)
  for (let turns = 0; turns < 10; turns++) await turn()
  await talk.until('what else it said', () => true)
  const first = talk.said.length
  talk.post({ type: 'ack', events: 40 })
  await talk.until('more', () => talk.said.length >= first + 40)
  for (let turns = 0; turns < 10; turns++) await turn()
  await talk.until('what else it said', () => true)

  assert.deepEqual([first, talk.said.length], [100, 140])
})

test('a loop that waits for its tokens to be acknowledged still hears a cancel', async (t) => {
  const talk = new Talk(t, { slots: 1, maxInFlight: 10 })
  talk.model.allow(1000)
  talk.post(start(1, endless()))
  await talk.until('the bound', () => talk.said.length >= 10)

  talk.post({ type: 'cancel', handle: 1 })

  assert.equal((await talk.end(1)).type, 'canceled')
})

test('more tasks than slots wait for a slot, in order', async (t) => {
  const talk = new Talk(t, { slots: 1 })
  talk.model.allow(10)

  talk.post(...[1, 2, 3].map((handle) => start(handle, [[handle, 'x', 'stop']])))
  await talk.end(3)

  assert.deepEqual(
    talk.ends.map(({ handle }) => handle),
    [1, 2, 3],
  )
})

test('close ends the loop, at work or waiting', async (t) => {
  const waiting = new Talk(t)
  const atWork = new Talk(t)
  atWork.post(start(1, endless()))
  await until('a row', () => atWork.model.calls.length > 0)

  waiting.post({ type: 'close' })
  atWork.post({ type: 'close' })
  await turn()
  atWork.model.allow(1)

  await until('both are over', () => waiting.over !== null && atWork.over !== null)
  assert.deepEqual([waiting.over, atWork.over], ['stopped', 'stopped'])
})

test('a step that throws fails all rows, with what they had said, and the loop takes the next task', async (t) => {
  const talk = new Talk(t)
  const failed = { type: 'failed', code: 'model_failed', message: 'the step failed' }
  talk.post(
    start(1, [
      [0, 'a'],
      [1, 'throw'],
    ]),
    start(2, endless()),
  )
  talk.model.allow(10)
  await talk.end(1)
  await talk.end(2)

  talk.post(start(3, [[0, 'x', 'stop']]))
  const next = await talk.end(3)

  assert.deepEqual(talk.ends.slice(0, 2), [
    { handle: 1, ...failed },
    { handle: 2, ...failed },
  ])
  assert.equal(talk.text(1), 'a')
  assert.deepEqual([next.type, talk.text(3)], ['completed', 'x'])
})

test('a model that does nothing but fail ends the loop, once all ends are said', async (t) => {
  const talk = new Talk(t)
  const error = { code: 'model_failed', message: 'the row failed' }
  const failing: Word[][] = [[[0, 'throw']], [[-1, '', 'failed', { error }]]]
  talk.model.allow(100)

  for (const handle of [1, 2, 3, 4]) {
    talk.post(start(handle, failing[handle % 2] as Word[]))
    await talk.end(handle)
  }
  const before = talk.over
  talk.post(start(5, failing[0] as Word[]))
  await talk.end(5)
  await until('the end of the loop', () => talk.over)

  assert.equal(before, null)
  assert.equal((talk.over as Error).message, 'the model failed all of its tasks 5 times in a row')
})

test('a model that fails one task after another beside one that goes on is kept', async (t) => {
  const talk = new Talk(t)
  talk.post(start(1, endless()))

  for (let handle = 2; handle < 12; handle++) {
    talk.post(start(handle, [[-1, '', 'failed']]))
    talk.model.allow(3)
    await talk.end(handle)
  }

  assert.deepEqual([talk.over, talk.ends.some(({ handle }) => handle === 1)], [null, false])
})

test('while it has a task and nothing to say of it, the loop gives signs of life', async (t) => {
  const talk = new Talk(t)
  talk.post(start(1, [[5, 'a']]))
  talk.model.allow(1)

  await talk.until('signs', () => talk.signs >= 2)

  assert.equal(talk.text(1), 'a')
})

test('without tasks it gives none', async (t) => {
  const talk = new Talk(t)
  talk.model.allow(10)
  talk.post(start(1, [[5, 'a', 'stop']]))
  await talk.end(1)
  const { signs } = talk
  const after = performance.now() + 600

  await talk.until('a while', () => performance.now() > after)

  assert.equal(talk.signs, signs)
})

test('a loop whose port is closed ends', async (t) => {
  const talk = new Talk(t)
  await talk.until('ready', () => talk.slots > 0)

  talk.hangUp()

  await talk.until('its end', () => talk.over !== null)
  assert.equal(talk.over, 'stopped')
})
