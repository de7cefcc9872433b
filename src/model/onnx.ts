/**
 * Real inference: a Hugging Face decoder export, run by ONNX Runtime, behind the seam of `model.ts`.
 *
 * A step decodes all rows in one call and then computes prompts, within a bound: those that are short enough, in order
 * of arrival, and one piece of the oldest that is not. So a long prompt holds up neither a running stream by more than
 * that bound nor a short prompt by more than a step, and since the oldest always gets its piece, none starves. A
 * prompt that is done says its first token in the same step.
 *
 * A row that cannot be run fails alone: when a call for many rows throws, they are run one by one.
 *
 * A row's tokens do not depend on who shares the batch: its logits are its own, its random numbers are a function of
 * seed and position, and what the prefix cache gives is what would have been computed.
 */
import { join } from 'node:path'
import { RejoinError } from '../core/errors.js'
import type { TokenLikelihood, TokenLogprob } from '../core/event.js'
import type { Prompt } from '../core/task.js'
import { ChatTemplate } from './chat-template.js'
import { Decoder } from './decoder.js'
import { History } from './history.js'
import type { KvCache, Span } from './kv-cache.js'
import { logprobs } from './logprobs.js'
import {
  type Admission,
  DEFAULT_MAX_TOKENS,
  type Generation,
  type Model,
  type OnnxSource,
  type SlotOutput,
} from './model.js'
import { checkShape, type ModelConfig, readModelConfig } from './model-config.js'
import { BLOCK_TOKENS, PrefixCache } from './prefix-cache.js'
import { encodePrompt } from './prompt.js'
import { Sampler, type SamplerSettings } from './sampler.js'
import { type Detokenizer, Tokenizer } from './tokenizer.js'

type Row = {
  slot: number
  batch: Batch
  /** Prompt and answer. */
  ids: number[]
  promptTokens: number
  sampling: SamplerSettings
  detokenizer: Detokenizer
  history: History
  /** Tokens of the answer so far: the position of the next one. */
  generated: number
  /** The most tokens for which the context has room after this prompt. */
  room: number
  cachedTokens: number
  topLogprobs: number | null
}

/** A cache and the rows that decode in it; row i of the cache's front is `rows[i]`. */
type Batch = { cache: KvCache; rows: Row[] }

type Parts = Pick<ModelConfig, 'sampling'> & {
  decoder: Decoder
  tokenizer: Tokenizer
  template: ChatTemplate | null
  eosIds: ReadonlySet<number>
}

export class OnnxModel implements Model {
  readonly slots: number
  readonly #parts: Parts
  readonly #contextTokens: number
  readonly #prefixes: PrefixCache
  /** For all rows, which are sampled one after another. */
  readonly #sampler: Sampler
  /** Tokens of prompts that a step computes at most, twice: of short ones together, and of a long one. */
  readonly #prefillChunk: number
  /** One batch of all slots; or one for each, for a graph whose rows must be run one by one. */
  readonly #batches: Batch[]
  readonly #free: number[]
  readonly #rows = new Map<number, Row>()
  /** Prompts that are not computed yet, in order of arrival. */
  readonly #waiting: Row[] = []
  /** The prompt that is computed in pieces. */
  #long: Row | null = null

  private constructor(source: OnnxSource, parts: Parts) {
    const { slots, contextTokens, prefixCacheBytes, prefillChunk } = source
    const { decoder } = parts
    const { tensors, heads, headSize } = decoder.shape
    this.slots = slots
    this.#sampler = new Sampler(decoder.vocabulary)
    this.#contextTokens = contextTokens
    this.#parts = parts
    this.#prefillChunk = decoder.wholePrompts ? contextTokens : prefillChunk
    this.#prefixes = new PrefixCache(tensors * heads * headSize, decoder.wholePrompts ? 0 : prefixCacheBytes)
    const [batches, each] = decoder.feeding === 'padded' ? [1, slots] : [slots, 1]
    this.#batches = Array.from({ length: batches }, () => ({ cache: decoder.newCache(each, contextTokens), rows: [] }))
    this.#free = Array.from({ length: slots }, (_, i) => slots - 1 - i)
  }

  /** @throws Error in one line when a file is missing or the graph is of a kind that is not supported */
  static async load(source: OnnxSource): Promise<OnnxModel> {
    const { dir, file, threads } = source
    const tokenizer = Tokenizer.load(dir)
    const config = readModelConfig(dir)
    const template = ChatTemplate.load(dir, tokenizer.specialTokens)
    // A chat's turns end with the tokenizer's, which config.json alone does not always name.
    const eosIds = new Set([...(config.eosIds ?? []), ...tokenizer.eosIds])
    const decoder = await Decoder.open(join(dir, file), {
      threads,
      windowTokens: config.windowTokens,
      contextTokens: source.contextTokens,
    })
    checkShape(dir, config.shape, decoder.shape)
    return new OnnxModel(source, { decoder, tokenizer, template, eosIds, sampling: config.sampling })
  }

  get note(): string | undefined {
    const { feeding, wholePrompts } = this.#parts.decoder
    if (feeding === 'padded') return undefined
    const prompts = wholePrompts ? ', each prompt in one piece and without a prefix cache' : ''
    return `this graph gives a row other logits when others share its call: rows are run one by one${prompts}`
  }

  /** A prompt as this model reads it. @throws RejoinError `invalid_prompt`, `prompt_too_long` */
  encode(prompt: Prompt): number[] {
    const { tokenizer, template } = this.#parts
    return encodePrompt(prompt, { tokenizer, template, contextTokens: this.#contextTokens })
  }

  async admit({ prompt, promptIds, sampling, maxTokens, recorded, topLogprobs }: Generation): Promise<Admission> {
    const { tokenizer, sampling: defaults } = this.#parts
    const slot = this.#free.at(-1)
    if (slot === undefined) throw new Error(`all ${this.slots} slots are taken`)
    const encoded = promptIds ?? this.encode(prompt)
    const room = this.#contextTokens - encoded.length
    const ids = [...encoded, ...recorded]
    const row: Row = {
      slot,
      batch: this.#batches[slot % this.#batches.length] as Batch,
      ids,
      promptTokens: encoded.length,
      sampling: { ...defaults, ...sampling },
      detokenizer: tokenizer.detokenizer(recorded),
      history: new History([...encoded], recorded),
      generated: recorded.length,
      room,
      cachedTokens: 0,
      topLogprobs,
    }
    this.#free.pop()
    this.#rows.set(slot, row)
    this.#waiting.push(row)
    return { slot, promptTokens: encoded.length, maxTokens: Math.min(maxTokens ?? DEFAULT_MAX_TOKENS, room) }
  }

  async step(): Promise<SlotOutput[]> {
    const outputs: SlotOutput[] = []
    for (const batch of this.#batches) if (batch.rows.length > 0) await this.#decode(batch, outputs)
    await this.#prefill(outputs)
    return outputs
  }

  idleMs(): number {
    const active = this.#waiting.length > 0 || this.#long !== null || this.#batches.some(({ rows }) => rows.length > 0)
    return active ? 0 : Number.POSITIVE_INFINITY
  }

  release(slot: number): void {
    const row = this.#rows.get(slot)
    if (!row) return
    this.#leave(row)
    this.#rows.delete(slot)
    this.#free.push(slot)
  }

  close(): Promise<void> {
    this.#rows.clear()
    return this.#parts.decoder.close()
  }

  /** One token for every row of a batch; where they cannot be run together, for each that can be run alone. */
  async #decode(batch: Batch, outputs: SlotOutput[]): Promise<void> {
    const rows = [...batch.rows]
    const logits = rows.length > 1 ? await this.#runTogether(batch) : null
    const vocabulary = (logits?.length ?? 0) / rows.length
    for (const [i, row] of rows.entries()) {
      if (logits === null) outputs.push(await this.#decodeAlone(row))
      else outputs.push(this.#say(row, logits.subarray(i * vocabulary, (i + 1) * vocabulary)))
    }
  }

  /** The logits of all rows of a batch; null when the call fails: it adds nothing to the cache then. */
  async #runTogether({ rows, cache }: Batch): Promise<Float32Array | null> {
    const ids = Int32Array.from(rows, ({ ids }) => ids.at(-1) as number)
    try {
      return await this.#parts.decoder.run(ids, cache, cache.front)
    } catch {
      // Which row it is of, if it is of one, each of them tells by itself.
      return null
    }
  }

  #decodeAlone(row: Row): Promise<SlotOutput> {
    const { cache, rows } = row.batch
    return this.#orFail(row, async () => {
      const ids = [row.ids.at(-1) as number]
      return this.#say(row, await this.#parts.decoder.run(ids, cache, cache.row(rows.indexOf(row))))
    })
  }

  /** Prompts, within the bound of a step: short ones whole, in order of arrival, then a piece of the oldest long one. */
  async #prefill(outputs: SlotOutput[]): Promise<void> {
    let left = this.#prefillChunk
    for (const row of [...this.#waiting]) {
      if (row.generated >= row.room) {
        // The lost attempt had filled the context, and died before it said so.
        outputs.push({ slot: row.slot, id: -1, text: '', end: 'length' })
        this.#leave(row)
        continue
      }
      const tokens = row.ids.length - this.#prefixes.matchedTokens(row.ids, row.ids.length - 1)
      if (tokens > left) continue
      left -= tokens
      this.#waiting.splice(this.#waiting.indexOf(row), 1)
      outputs.push(await this.#prefillWhole(row))
    }
    this.#long ??= this.#waiting.shift() ?? null
    const output = this.#long && (await this.#prefillPiece(this.#long))
    if (output) outputs.push(output)
  }

  /** A prompt that is computed at once joins the rows right away. */
  async #prefillWhole(row: Row): Promise<SlotOutput> {
    const { cache, rows } = row.batch
    const index = cache.add(0)
    rows.push(row)
    this.#reusePrefix(row, () => cache.row(index))
    const ids = row.ids.slice(row.cachedTokens)
    return this.#orFail(row, async () => {
      return this.#sayFirst(row, await this.#parts.decoder.run(ids, cache, cache.row(index)))
    })
  }

  /** A row that ONNX Runtime cannot run has ended, and no other with it. */
  async #orFail<T>(row: Row, run: () => Promise<T>): Promise<T | SlotOutput> {
    try {
      return await run()
    } catch (error) {
      this.#leave(row, false)
      const { message } = error as Error
      return { slot: row.slot, id: -1, text: '', end: 'failed', error: { code: 'model_failed', message } }
    }
  }

  /** Null while there are more pieces to come. */
  async #prefillPiece(row: Row): Promise<SlotOutput | null> {
    const { cache, rows } = row.batch
    if (!cache.tail) {
      cache.openTail(0)
      this.#reusePrefix(row, () => cache.tail as Span)
    }
    const tail = cache.tail as Span
    const from = tail.lengths[0] as number
    const piece = row.ids.slice(from, from + this.#prefillChunk)
    return this.#orFail(row, async () => {
      const logits = await this.#parts.decoder.run(piece, cache, tail)
      if (from + piece.length < row.ids.length) return null
      this.#long = null
      cache.joinTail()
      rows.push(row)
      return this.#sayFirst(row, logits)
    })
  }

  /** Fills an empty span with what is known of the prompt. Its last token is always computed: it gives the logits. */
  #reusePrefix(row: Row, span: () => Span): void {
    for (const block of this.#prefixes.match(row.ids, row.ids.length - 1)) {
      row.batch.cache.write(span(), BLOCK_TOKENS, block)
      row.cachedTokens += BLOCK_TOKENS
    }
  }

  #sayFirst(row: Row, logits: Float32Array): SlotOutput {
    const output = this.#say(row, logits)
    // At once, for those who wait with the same beginning. One that has ended already has left it.
    if (output.end === null) this.#keepPrefix(row, row.batch.cache.row(row.batch.rows.indexOf(row)))
    // After a pause some of the answer may be cached, too.
    return { ...output, cachedTokens: Math.min(row.cachedTokens, row.promptTokens) }
  }

  /** What a row has computed so far, for prompts to come. */
  #keepPrefix({ ids, batch: { cache } }: Row, span: Span): void {
    this.#prefixes.insert(ids, span.lengths[0] as number, (from, block) => {
      cache.read(span, from, BLOCK_TOKENS, block)
    })
  }

  /** The next token of a row, or its end. A row that has ended is out of the batch at once, its slot when released. */
  #say(row: Row, logits: Float32Array): SlotOutput {
    const output = this.#choose(row, logits)
    if (output.end !== null) this.#leave(row, output.end !== 'failed')
    return output
  }

  #choose(row: Row, logits: Float32Array): SlotOutput {
    const { slot, sampling, history, topLogprobs } = row
    // Sampling changes the logits.
    const raw = topLogprobs === null ? null : logits.slice()
    try {
      const id = this.#sampler.sample(logits, sampling, history, row.generated)
      if (this.#parts.eosIds.has(id)) return { slot, id: -1, text: '', end: 'stop' }
      row.ids.push(id)
      history.push(id)
      row.generated++
      const end = row.generated === row.room ? 'length' : null
      const output: SlotOutput = { slot, id, text: row.detokenizer.push(id), end }
      return raw ? { ...output, logprobs: this.#logprobs(raw, id, topLogprobs ?? 0) } : output
    } catch (error) {
      // Its logits are not finite, perhaps: that is the end of this row, and of nobody else.
      const { message } = error as Error
      const code = error instanceof RejoinError ? error.code : 'model_failed'
      return { slot, id: -1, text: '', end: 'failed', error: { code, message } }
    }
  }

  #logprobs(raw: Float32Array, id: number, count: number): TokenLogprob {
    const { logprob, top } = logprobs(raw, id, count)
    const likely = (id: number, logprob: number): TokenLikelihood => ({
      ...this.#parts.tokenizer.token(id),
      // JSON has no -Infinity; what OpenAI's API gives in its place.
      logprob: Math.max(logprob, -9999),
    })
    return { ...likely(id, logprob), top_logprobs: top.map(({ id, logprob }) => likely(id, logprob)) }
  }

  /** Wherever it is: waiting, half computed, decoding, or gone already. */
  #leave(row: Row, keep = true): void {
    const { cache, rows } = row.batch
    const waiting = this.#waiting.indexOf(row)
    const index = rows.indexOf(row)
    if (waiting >= 0) {
      this.#waiting.splice(waiting, 1)
    } else if (row === this.#long) {
      this.#long = null
      // A pause in the middle of a prompt must not cost what is computed of it.
      if (keep && cache.tail) this.#keepPrefix(row, cache.tail)
      cache.closeTail()
    } else if (index >= 0) {
      if (keep) this.#keepPrefix(row, cache.row(index))
      else cache.scrub(index)
      cache.remove(index)
      const last = rows.pop() as Row
      if (last !== row) rows[index] = last
    }
  }
}
