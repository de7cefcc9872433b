/** Driving a model the way the batch loop does, for tests that look at what it says. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Admission, EncoderSource, Generation, Model, OnnxSource, SlotOutput } from '../../src/model/model.js'
import { type OnnxOptions, planDecoder, planSource } from '../../src/model/source.js'

/** The tests run from dist/test/model. */
export const MODEL_DIR = fileURLToPath(new URL('../../../models/default', import.meta.url))

/** A model of the tests: its directory, and the options that matter to the test. */
export const onnxSource = (dir: string = MODEL_DIR, options: Partial<OnnxOptions> = {}): OnnxSource =>
  planDecoder('test', dir, { ...OPTIONS, ...options })

export const encoderSource = (dir: string, options: Partial<OnnxOptions> = {}): EncoderSource => {
  const source = planSource('test', dir, { ...OPTIONS, ...options })
  if (source.type === 'encoder') return source
  throw new Error(`${dir} is a model of type ${source.type}`)
}

const OPTIONS: OnnxOptions = {
  slots: 4,
  file: null,
  maxKvBytes: 256 * 1_048_576,
  prefixCacheBytes: 16 * 1_048_576,
  prefillChunk: 64,
  threads: 1,
}

/** `ids` and `text` are what this attempt said, without what was recorded before. */
export type Answer = { admission: Admission; ids: number[]; text: string; end: SlotOutput['end'] }

export const generation = (text: string, fields: Partial<Generation> = {}): Generation => ({
  prompt: { type: 'text', text },
  promptIds: null,
  sampling: { seed: 1, temperature: 0 },
  maxTokens: null,
  recorded: [],
  topLogprobs: null,
  ...fields,
})

/** One step as soon as the model has something to do; a timer can fire a little early, so it may take two waits. */
export const nextStep = async (model: Model): Promise<SlotOutput[]> => {
  for (let idleMs = model.idleMs(); idleMs > 0; idleMs = model.idleMs()) {
    assert.notEqual(idleMs, Number.POSITIVE_INFINITY, 'no slot is active')
    await sleep(Math.ceil(idleMs))
  }
  return model.step()
}

/** Every generation to its end, as many at once as there are slots, each slot released when its row ends. */
export const answerAll = async (model: Model, generations: Generation[]): Promise<Answer[]> => {
  const answers: Answer[] = []
  const bySlot = new Map<number, Answer & { room: number }>()
  const waiting = [...generations]
  while (waiting.length > 0 || bySlot.size > 0) {
    while (waiting.length > 0 && bySlot.size < model.slots) {
      const next = waiting.shift() as Generation
      const admission = await model.admit(next)
      const room = admission.maxTokens - next.recorded.length
      const answer = { admission, ids: [], text: '', end: null, room }
      answers.push(answer)
      bySlot.set(admission.slot, answer)
    }
    for (const { slot, id, text, end } of await nextStep(model)) {
      const answer = bySlot.get(slot)
      if (!answer) continue
      if (id >= 0) answer.ids.push(id)
      answer.text += text
      answer.end = end
      if (end === null && answer.ids.length < answer.room) continue
      answer.end = end ?? 'length'
      model.release(slot)
      bySlot.delete(slot)
    }
  }
  return answers
}

export const answerOne = async (model: Model, one: Generation): Promise<Answer> => {
  const [answer] = await answerAll(model, [one])
  return answer as Answer
}
