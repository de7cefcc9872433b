/**
 * One encoder graph in ONNX Runtime: the ids of some texts in, a vector for each out.
 *
 * A graph gives either a vector for each token, which are pooled here, or a finished `sentence_embedding`. Names and
 * types are checked when it is loaded, so that an export of another kind is refused by name. Rows of unequal length
 * are padded on the right and masked; a graph whose vectors depend on what runs beside them says so in `alone`.
 */
import { readFileSync } from 'node:fs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { type GraphFile, readGraph } from './graph.js'
import type { EncoderSource } from './model.js'
import { firstOf, meanOf, unit } from './pooling.js'

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids']
const TOKENS = ['last_hidden_state', 'token_embeddings']
const SENTENCE = 'sentence_embedding'
const FLOAT = 1
const INT64 = 7
// Two roundings of one vector of length 1 are nearer than this, two texts are not.
const SAME = 1e-4

type EncoderOptions = Pick<EncoderSource, 'threads' | 'pooling' | 'padId'>

export class EncoderGraph {
  readonly #session: InferenceSession
  readonly #options: EncoderOptions
  /** Of a vector for each token, or for each text. */
  readonly #output: string
  #alone: boolean

  private constructor(session: InferenceSession, options: EncoderOptions, output: string, alone: boolean) {
    this.#session = session
    this.#options = options
    this.#output = output
    this.#alone = alone
  }

  /**
   * @param path of the .onnx file
   * @param samples the ids of two texts of unequal length, to see whether they can share a call
   * @throws Error when the graph cannot be loaded or is of a kind that is not supported
   */
  static async open(path: string, options: EncoderOptions, samples: [number[], number[]]): Promise<EncoderGraph> {
    try {
      const graph = readGraph(readFileSync(path))
      const output = checkEncoder(graph, options)
      const session = await InferenceSession.create(path, {
        intraOpNumThreads: options.threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        graphOptimizationLevel: 'all',
        // A plan of memory is kept for each shape, and texts come in all shapes.
        enableMemPattern: false,
        // What goes wrong in a call is thrown, and one text's fault is not worth a line of its own on stderr.
        logSeverityLevel: 4,
        // Threads that spin while they wait would take the event loop's core.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      })
      const rows = graph.inputs.find(({ name }) => name === 'input_ids')?.shape[0]
      // int8 scales activations by the largest of the whole batch.
      const encoder = new EncoderGraph(session, options, output, graph.dynamic || rows === 1)
      await encoder.#tryOut(samples)
      return encoder
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`)
    }
  }

  /** A row's vector depends on the rows beside it, so each must have a call of its own. */
  get alone(): boolean {
    return this.#alone
  }

  /**
   * @param rows ids of texts, none empty
   * @returns a vector of length 1 for each (of zeros, where the model's is)
   */
  async run(rows: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const { inputNames } = this.#session
    const width = Math.max(...rows.map((ids) => ids.length))
    const feeds: Record<string, Tensor> = {
      input_ids: padded(rows, width, (id) => id, this.#options.padId),
      attention_mask: padded(rows, width, () => 1, 0),
    }
    if (inputNames.includes('token_type_ids')) feeds.token_type_ids = padded(rows, width, () => 0, 0)
    const outputs = await this.#session.run(feeds, [this.#output])
    const { data, dims } = outputs[this.#output] as Tensor
    const size = dims.at(-1) as number
    const finished = this.#output === SENTENCE
    const hidden = { data: data as Float32Array, width: finished ? 1 : width, size }
    const first = finished || this.#options.pooling.type === 'cls'
    return rows.map((ids, row) => unit(first ? firstOf(hidden, row) : meanOf(hidden, row, ids.length)))
  }

  close(): Promise<void> {
    return this.#session.release()
  }

  /** The shorter text must have the same vector with the longer one beside it. */
  async #tryOut([short, long]: [number[], number[]]): Promise<void> {
    const [expected] = await this.run([short])
    if (this.#alone) return
    const [vector] = await this.run([short, long])
    // Not `>`: NaN must count as a difference.
    this.#alone = !vector?.every((value, i) => Math.abs(value - (expected?.[i] as number)) <= SAME)
  }
}

/** @returns the output to take */
const checkEncoder = ({ inputs, outputs }: GraphFile, { pooling }: EncoderOptions): string => {
  const missing = ['input_ids', 'attention_mask'].find((name) => !inputs.some((input) => input.name === name))
  if (missing) throw new Error(`the graph has no input ${missing}`)
  const unknown = inputs.find(({ name }) => !INPUTS.includes(name))
  if (unknown) throw new Error(`the graph has an input ${unknown.name}, which is not supported`)
  const odd = inputs.find(({ type }) => type !== INT64)
  if (odd) throw new Error(`${odd.name} is of element type ${odd.type}, not int64 (${INT64})`)
  const wanted = [SENTENCE, ...(pooling.type === 'graph' ? [] : TOKENS)]
  const output = wanted.map((name) => outputs.find((output) => output.name === name)).find((found) => found)
  if (!output && pooling.type === 'graph') throw new Error(`${pooling.because}, and the graph has no ${SENTENCE}`)
  if (!output) {
    const names = outputs.map(({ name }) => name).join(', ')
    throw new Error(`the graph has no output ${TOKENS[0]} or ${SENTENCE}, only ${names}: it makes no embeddings`)
  }
  if (output.type === FLOAT) return output.name
  throw new Error(
    `${output.name} is of element type ${output.type}, not float32 (1): take an fp32, int8 or q4 file of this model`,
  )
}

/** [rows, width] as int64, through 32-bit halves: a BigInt per id would be an object per id. */
const padded = (
  rows: readonly (readonly number[])[],
  width: number,
  of: (id: number) => number,
  pad: number,
): Tensor => {
  const wide = new BigInt64Array(rows.length * width)
  const halves = new Int32Array(wide.buffer)
  for (const [row, ids] of rows.entries()) {
    for (let i = 0; i < width; i++) {
      const id = ids[i]
      halves[2 * (row * width + i)] = id === undefined ? pad : of(id)
    }
  }
  return new Tensor('int64', wide, [rows.length, width])
}
