/**
 * Real inference: a Hugging Face decoder export, run by ONNX Runtime, behind the seam of `model.ts`.
 *
 * Every slot is a row of its own with its own KV cache, and a step runs the active rows one after another. A row is
 * prefilled when it is admitted; its first token comes from the logits of that, so a step decodes only what was said
 * in the step before, and a row that is released in between costs nothing more. The random number of a token is a
 * function of seed and position, so an answer that goes on from recorded tokens goes on as it would have.
 */
import { join } from 'node:path'
import { ChatTemplate } from './chat-template.js'
import { Decoder, type KvCache } from './decoder.js'
import { History } from './history.js'
import {
  type Admission,
  DEFAULT_MAX_TOKENS,
  type Generation,
  type Model,
  type ModelSource,
  type SlotOutput,
} from './model.js'
import { type ModelConfig, readModelConfig } from './model-config.js'
import { encodePrompt } from './prompt.js'
import { Sampler, type SamplerSettings } from './sampler.js'
import { checkModelDir, MODEL_FILE } from './source.js'
import { Detokenizer, Tokenizer } from './tokenizer.js'

type Row = {
  slot: number
  sampling: SamplerSettings
  cache: KvCache
  detokenizer: Detokenizer
  history: History
  /** Tokens of the answer so far: the position of the next one. */
  generated: number
  /** The most tokens for which the context has room after this prompt. */
  room: number
  /** What the next token is chosen from; null when the last one must be decoded first. */
  logits: Float32Array | null
  lastId: number
}

type Parts = { decoder: Decoder; tokenizer: Tokenizer; template: ChatTemplate | null; config: ModelConfig }

export class OnnxModel implements Model {
  readonly slots: number
  readonly #parts: Parts
  readonly #free: number[]
  /** Rows that go on, in order of admission; one that has ended is out already, though its slot is not free yet. */
  readonly #active = new Map<number, Row>()
  readonly #taken = new Set<number>()
  /** For all rows, which are sampled one at a time; null until the first logits tell the vocabulary's size. */
  #sampler: Sampler | null = null

  private constructor(slots: number, parts: Parts) {
    this.slots = slots
    this.#parts = parts
    this.#free = Array.from({ length: slots }, (_, i) => slots - 1 - i)
  }

  /** @throws Error in one line when a file is missing or the graph is of a kind that is not supported */
  static async load({ dir, slots }: Extract<ModelSource, { type: 'onnx' }>): Promise<OnnxModel> {
    checkModelDir(dir)
    const config = readModelConfig(dir)
    const tokenizer = Tokenizer.load(dir)
    const template = ChatTemplate.load(dir, tokenizer.specialTokens)
    const decoder = await Decoder.open(join(dir, MODEL_FILE), config.contextTokens)
    return new OnnxModel(slots, { decoder, tokenizer, template, config })
  }

  async admit({ prompt, sampling, maxTokens, recorded }: Generation): Promise<Admission> {
    const { decoder, tokenizer, template, config } = this.#parts
    if (this.#free.length === 0) throw new Error(`all ${this.slots} slots are taken`)
    const promptIds = encodePrompt(prompt, { tokenizer, template, contextTokens: config.contextTokens })
    const room = config.contextTokens - promptIds.length
    const ids = [...promptIds, ...recorded]
    const cache = decoder.emptyCache()
    const logits = recorded.length < room ? await decoder.run(ids, cache) : null
    const slot = this.#free.pop() as number
    this.#taken.add(slot)
    this.#active.set(slot, {
      slot,
      sampling: { ...config.sampling, ...sampling },
      cache,
      detokenizer: new Detokenizer(tokenizer, recorded),
      history: new History(promptIds, recorded),
      generated: recorded.length,
      room,
      logits,
      lastId: -1,
    })
    return {
      slot,
      promptTokens: promptIds.length,
      cachedTokens: 0,
      maxTokens: Math.min(maxTokens ?? DEFAULT_MAX_TOKENS, room),
    }
  }

  async step(): Promise<SlotOutput[]> {
    const outputs: SlotOutput[] = []
    for (const row of this.#active.values()) {
      const output = await this.#advance(row)
      if (output.end !== null) this.#active.delete(row.slot)
      outputs.push(output)
    }
    return outputs
  }

  idleMs(): number {
    return this.#active.size > 0 ? 0 : Number.POSITIVE_INFINITY
  }

  release(slot: number): void {
    this.#active.delete(slot)
    if (this.#taken.delete(slot)) this.#free.push(slot)
  }

  close(): Promise<void> {
    this.#active.clear()
    return this.#parts.decoder.close()
  }

  /** The next token of a row, or its end. */
  async #advance(row: Row): Promise<SlotOutput> {
    const { slot } = row
    if (row.generated >= row.room) return { slot, id: -1, text: '', end: 'length' }
    const logits = row.logits ?? (await this.#parts.decoder.run([row.lastId], row.cache))
    row.logits = null
    this.#sampler ??= new Sampler(logits.length)
    const id = this.#sampler.sample(logits, row.sampling, row.history, row.generated)
    if (this.#parts.config.eosIds.has(id)) return { slot, id: -1, text: '', end: 'stop' }
    row.lastId = id
    row.history.push(id)
    row.generated++
    return { slot, id, text: row.detokenizer.push(id), end: row.generated === row.room ? 'length' : null }
  }
}
