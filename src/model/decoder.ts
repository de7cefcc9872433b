/**
 * One decoder graph in ONNX Runtime: the next ids of some rows in, their logits out, keys and values added to a cache.
 *
 * Rows of one call may be of unequal length: each is fed its bucket with what lies beyond its length masked. Both
 * common layouts of Hugging Face exports run so: GroupQueryAttention (positions come from the attention mask), which is
 * rewritten where it can be (see attention.ts), and plain operators with a `position_ids` input. Others are tried out at load: a graph that gives other logits for a
 * padded row than for the row alone gets its rows one by one, at their exact lengths, and says so; one that cannot go
 * on from a cache at all is refused. Names and shapes are checked then, too, so that an export of another kind is
 * refused by name and does not fail in the middle of an answer.
 */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { type Rewrite, remove, rewriteAttention } from './attention.js'
import {
  addedOutputs,
  checkGraph,
  cutLogits,
  type GraphFile,
  LOGITS_OUTPUT,
  type LogitsCut,
  PAST,
  readGraph,
  STEP_OUTPUT,
} from './graph.js'
import { BUCKET_TOKENS, KvCache, type KvShape, type Span } from './kv-cache.js'
import { int64, type Layout, ownPositions, rowFeeds } from './row-feeds.js'

/** How rows are fed: `padded` many in one call, or each alone at its `exact` length. */
export type Feeding = 'padded' | 'exact'

export type DecoderOptions = {
  /** Of one call of ONNX Runtime. */
  threads: number
  /** The model's attention looks back so far only, or null. */
  windowTokens: number | null
  /** Positions of a row at most. */
  contextTokens: number
}

/** A file, and what was found in it. */
type Parts = {
  dir: string
  file: Buffer
  graph: GraphFile
  kvNames: string[]
  shape: KvShape
  cut: LogitsCut | null
  threads: number
  contextTokens: number
}

/** The ids of a short text. */
const TRIAL = [3, 10, 17, 24, 31]

export class Decoder {
  readonly shape: KvShape
  /** A prompt gives the same keys and values only when it is run whole: nothing may be reused or done in pieces. */
  readonly wholePrompts: boolean
  #vocabulary = 0
  readonly #session: InferenceSession
  readonly #contextTokens: number
  readonly #layout: Layout
  readonly #pastNames: string[]
  readonly #inputs: ReadonlySet<string>
  #feeding: Feeding = 'padded'
  // The tensors over a cache's buffers, for as long as the rows and the bucket are the same.
  #fed: { cache: KvCache; offset: number; rows: number; bucket: number; past: Record<string, Tensor> } | null = null

  private constructor(
    session: InferenceSession,
    { kvNames, shape, graph, contextTokens }: Parts,
    rewrite: Rewrite | null,
  ) {
    this.shape = shape
    this.wholePrompts = graph.dynamic
    this.#session = session
    this.#contextTokens = contextTokens
    this.#layout = rewrite ? 'apart' : graph.layout
    this.#pastNames = kvNames.map((name) => PAST + name)
    this.#inputs = new Set(session.inputNames)
  }

  /**
   * @param path of the .onnx file
   * @throws Error when the graph cannot be loaded or is of a kind that is not supported
   */
  static async open(path: string, { threads, windowTokens, contextTokens }: DecoderOptions): Promise<Decoder> {
    try {
      const file = readFileSync(path)
      const graph = readGraph(file)
      const { kvNames, shape } = checkGraph(graph)
      // How int8 is rounded depends on all that is in a call, so that nothing could be compared.
      const rewrite = graph.dynamic ? null : rewriteAttention(file, kvNames, shape)
      const parts = { dir: dirname(path), file, graph, kvNames, shape, cut: cutLogits(file), threads, contextTokens }
      const rewritten = rewrite && !graph.single ? await Decoder.#openRewritten(parts, rewrite) : null
      if (rewritten) return rewritten
      const decoder = await Decoder.#create(parts, null)
      // A window of plain operators is counted in positions of the bucket, padding and all.
      const alone = graph.dynamic || graph.single || (windowTokens !== null && graph.layout === 'end')
      await decoder.#tryOut(alone ? ['exact'] : ['padded', 'exact'])
      return decoder
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`)
    }
  }

  /** Null where it does not give what the file as it is gives. */
  static async #openRewritten(parts: Parts, rewrite: Rewrite): Promise<Decoder | null> {
    // For one short call, optimizing is not worth its time.
    const asItIs = await Decoder.#create(parts, null, 'disabled')
    const expected = await asItIs.#tryRow([TRIAL]).finally(() => asItIs.close())
    let decoder: Decoder | null = null
    try {
      decoder = await Decoder.#create(parts, rewrite)
      if (!differ(expected, await decoder.#tryRow([TRIAL]))) {
        await decoder.#tryOut(['padded'])
        return decoder
      }
    } catch {
      // Whatever it is, it is not the file's fault: that is loaded as it is.
    }
    await decoder?.close()
    return null
  }

  static async #create(parts: Parts, rewrite: Rewrite | null, level: 'all' | 'disabled' = 'all'): Promise<Decoder> {
    const { dir, file, graph, kvNames, shape, cut, threads } = parts
    const whole = Buffer.concat([file, addedOutputs(kvNames, shape, cut, rewrite?.added)])
    if (rewrite) remove(whole, rewrite)
    const session = await InferenceSession.create(whole, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      graphOptimizationLevel: level,
      logSeverityLevel: 3,
      // It plans the memory of each new set of shapes and keeps the plan; here shapes change for ever.
      enableMemPattern: false,
      extra: {
        session: {
          // Threads that spin while they wait would take the event loop's core.
          intra_op: { allow_spinning: '0' },
          ...(graph.external ? { model_external_initializers_file_folder_path: dir } : {}),
        },
      },
    })
    return new Decoder(session, parts, rewrite)
  }

  /** How many logits a row has. */
  get vocabulary(): number {
    return this.#vocabulary
  }

  get feeding(): Feeding {
    return this.#feeding
  }

  get layout(): Layout {
    return this.#layout
  }

  /** A cache for rows of this graph, as it has to be for this feeding. */
  newCache(slots: number, contextTokens: number): KvCache {
    const granularity = this.#feeding === 'padded' ? BUCKET_TOKENS : 1
    return new KvCache({ shape: this.shape, slots, contextTokens, granularity })
  }

  /**
   * Runs `count` ids of each row of a span after what the cache has of it, and adds their keys and values.
   * More than one id only where the span has one row.
   * @param ids [rows x count]
   * @returns [rows x vocabulary]: the logits after the last id of each row; the caller's to change
   */
  async run(ids: ArrayLike<number>, cache: KvCache, span: Span): Promise<Float32Array> {
    const { rows, bucket, lengths } = span
    const count = ids.length / rows
    const fed = { lengths, bucket, count }
    const feeds: Record<string, Tensor> = {
      ...this.#past(cache, span),
      ...rowFeeds(this.#layout, fed),
      input_ids: int64(ids, [rows, count]),
    }
    if (this.#inputs.has('position_ids')) feeds.position_ids = ownPositions(fed)
    // Attention was all that read it, and now does not.
    if (!this.#inputs.has('attention_mask')) delete feeds.attention_mask
    const outputs = await this.#session.run(feeds, [LOGITS_OUTPUT, STEP_OUTPUT])
    cache.append(span, (outputs[STEP_OUTPUT] as Tensor).data as Float32Array, count)
    return (outputs[LOGITS_OUTPUT] as Tensor).data as Float32Array
  }

  close(): Promise<void> {
    return this.#session.release()
  }

  #past(cache: KvCache, { offset, rows, bucket }: Span): Record<string, Tensor> {
    const fed = this.#fed
    if (fed?.cache === cache && fed.offset === offset && fed.rows === rows && fed.bucket === bucket) return fed.past
    const { heads, headSize } = cache.shape
    const past: Record<string, Tensor> = {}
    for (const [tensor, name] of this.#pastNames.entries()) {
      const buffer = cache.buffers[tensor] as Float32Array
      const floats = buffer.subarray(offset, offset + rows * heads * bucket * headSize)
      past[name] = new Tensor('float32', floats, [rows, heads, bucket, headSize])
    }
    this.#fed = { cache, offset, rows, bucket, past }
    return past
  }

  /**
   * The logits of a short text, whole and from nothing, are what the other ways must give too: in two pieces, and with
   * a longer row beside it. Random weights and real ones alike differ by far more than rounding when a mask is wrong.
   * @throws Error when the graph does not go on from a cache
   */
  async #tryOut(feedings: Feeding[]): Promise<void> {
    const ids = TRIAL
    const alone = await this.#tryRow([ids])
    this.#vocabulary = alone.length
    for (const feeding of feedings) {
      this.#feeding = feeding
      // Scaled by the whole text, its pieces differ as much as int8 does.
      if (this.wholePrompts) return
      if (differ(alone, await this.#tryRow([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]))) continue
      if (feeding === 'exact' || (await this.#sameBeside(ids, alone))) return
    }
    throw new Error(
      'its cache is of a layout that is not supported: a text in two pieces gives other logits than whole',
    )
  }

  async #tryRow(pieces: number[][]): Promise<Float32Array> {
    const cache = this.newCache(1, BUCKET_TOKENS)
    cache.add(0)
    let logits: Float32Array = new Float32Array(0)
    for (const piece of pieces) logits = await this.run(piece, cache, cache.row(0))
    return logits
  }

  async #sameBeside(ids: number[], alone: Float32Array): Promise<boolean> {
    try {
      return !differ(alone, await this.#tryBeside(ids))
    } catch {
      // A table of masks that ends with the context, say, where the bucket goes beyond it.
      return false
    }
  }

  /** Plain operators see the whole bucket: the largest there will be, for windows and tables that are smaller. */
  async #tryBeside(ids: number[]): Promise<Float32Array> {
    const tokens = this.#layout === 'end' ? this.#contextTokens : BUCKET_TOKENS
    const cache = this.newCache(2, tokens)
    cache.add(tokens)
    await this.run([...ids, ...ids], cache, cache.row(0))
    cache.add(0)
    await this.run(ids.slice(0, -1), cache, cache.row(1))
    const logits = await this.run([ids[0] as number, ids.at(-1) as number], cache, cache.front)
    return logits.subarray(logits.length / 2)
  }
}

const differ = (one: Float32Array, other: Float32Array): boolean => {
  const size = one.reduce((most, logit) => Math.max(most, Math.abs(logit)), 1)
  // Not `>`: NaN must count as a difference.
  return !one.every((logit, i) => Math.abs(logit - (other[i] as number)) <= 0.01 * size)
}
