/**
 * Texts to embeddings: a Hugging Face encoder export (BERT's kind), run by ONNX Runtime.
 *
 * Texts of like length share a call, of a bounded size. What a text was batched with does not show in its embedding:
 * a graph for which it would is run text by text, and a text that makes a call fail fails alone. A text that is
 * longer than the model's positions is refused, never cut; special tokens count, and come from the tokenizer itself.
 */
import { join } from 'node:path'
import { type ErrorCode, RejoinError } from '../core/errors.js'
import { EncoderGraph } from './encoder-graph.js'
import { batchByLength } from './length-batches.js'
import type { EncoderSource } from './model.js'
import { Tokenizer } from './tokenizer.js'

/** Of one text. `vector` is 1 long; `tokens` include the tokenizer's own. */
export type Embedding =
  | { type: 'embedded'; vector: Float32Array; tokens: number }
  | { type: 'failed'; code: ErrorCode; message: string }

/** Rows x longest row of a call. From 256 on a token costs the same (measured); more only makes others wait. */
const BATCH_TOKENS = 512
/** A text of more characters than this for each token that may be is looked at in part first. */
const CHARS_PER_TOKEN = 8
/** A word that is cut off in the middle may have more tokens than when it is whole: up to 100 in WordPiece. */
const CUT_WORD_TOKENS = 100

const SAMPLES = ['a', 'the second sample is the longer one'] as const

export class Encoder {
  readonly #tokenizer: Tokenizer
  readonly #graph: EncoderGraph
  readonly #contextTokens: number

  private constructor(tokenizer: Tokenizer, graph: EncoderGraph, contextTokens: number) {
    this.#tokenizer = tokenizer
    this.#graph = graph
    this.#contextTokens = contextTokens
  }

  /** @throws Error in one line when a file is missing or the graph is of a kind that is not supported */
  static async load(source: EncoderSource): Promise<Encoder> {
    const { dir, file, contextTokens } = source
    const tokenizer = Tokenizer.load(dir)
    const [short, long] = SAMPLES
    const graph = await EncoderGraph.open(join(dir, file), source, [
      tokenizer.encode(short, { addSpecial: true }),
      tokenizer.encode(long, { addSpecial: true }),
    ])
    return new Encoder(tokenizer, graph, contextTokens)
  }

  /** Texts of like length share a call; else each has its own, which costs what batching saves. */
  get batched(): boolean {
    return !this.#graph.alone
  }

  /** In the order of `texts`. @throws RejoinError as the first text that has no embedding failed */
  async embed(texts: readonly string[]): Promise<{ embeddings: Float32Array[]; tokens: number[] }> {
    const embeddings: Float32Array[] = []
    const tokens: number[] = []
    for (const embedding of await this.embedEach(texts)) {
      if (embedding.type === 'failed') throw new RejoinError(embedding.code, embedding.message)
      embeddings.push(embedding.vector)
      tokens.push(embedding.tokens)
    }
    return { embeddings, tokens }
  }

  /**
   * In the order of `texts`, each by itself: `invalid_prompt` (empty, or without tokens), `prompt_too_long` or
   * `model_failed` of one is not the others'.
   */
  async embedEach(texts: readonly string[]): Promise<Embedding[]> {
    const embeddings = new Array<Embedding>(texts.length)
    const rows: { index: number; ids: number[] }[] = []
    for (const [index, text] of texts.entries()) {
      try {
        rows.push({ index, ids: this.#encode(text) })
      } catch (error) {
        embeddings[index] = failed(error)
      }
    }
    const lengths = rows.map(({ ids }) => ids.length)
    for (const batch of batchByLength(lengths, this.batched ? BATCH_TOKENS : 0)) {
      const some = batch.map((at) => rows[at] as (typeof rows)[number])
      const results = await this.#run(some.map(({ ids }) => ids))
      for (const [i, { index }] of some.entries()) embeddings[index] = results[i] as Embedding
    }
    return embeddings
  }

  close(): Promise<void> {
    return this.#graph.close()
  }

  async #run(rows: number[][]): Promise<Embedding[]> {
    try {
      const vectors = await this.#graph.run(rows)
      return vectors.map((vector, i) => ({ type: 'embedded', vector, tokens: (rows[i] as number[]).length }))
    } catch (error) {
      if (rows.length === 1) return [failed(error)]
      // One of them is at fault (an id that the graph's table has not, perhaps); the others are not.
      const embeddings: Embedding[] = []
      for (const ids of rows) embeddings.push(...(await this.#run([ids])))
      return embeddings
    }
  }

  #encode(text: string): number[] {
    if (text === '') throw new RejoinError('invalid_prompt', 'the text is empty')
    this.#checkBeginning(text)
    const ids = this.#tokenizer.encode(text, { addSpecial: true })
    if (ids.length === 0) throw new RejoinError('invalid_prompt', 'the text has no tokens')
    if (ids.length > this.#contextTokens) throw this.#tooLong(String(ids.length))
    return ids
  }

  /**
   * To encode a megabyte takes half a second, for a text that is nearly always too long. Its beginning tells, at no
   * more cost than a text that fits. How long a token can be does not: spaces have none, and a long word may have one.
   */
  #checkBeginning(text: string): void {
    const chars = (this.#contextTokens + CUT_WORD_TOKENS) * CHARS_PER_TOKEN
    if (text.length <= 2 * chars) return
    const { length } = this.#tokenizer.encode(text.slice(0, chars), { addSpecial: false })
    const atLeast = length - CUT_WORD_TOKENS
    if (atLeast > this.#contextTokens) throw this.#tooLong(`at least ${atLeast}`)
  }

  #tooLong(tokens: string): RejoinError {
    return new RejoinError(
      'prompt_too_long',
      `the text has ${tokens} tokens, but the model has positions for ${this.#contextTokens}`,
    )
  }
}

const failed = (error: unknown): Embedding => ({
  type: 'failed',
  code: error instanceof RejoinError ? error.code : 'model_failed',
  message: (error as Error).message,
})
