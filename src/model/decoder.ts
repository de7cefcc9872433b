/**
 * One decoder graph in ONNX Runtime: ids in, the logits of the last of them out, keys and values kept by the caller.
 *
 * Both common layouts of Hugging Face exports run here: GroupQueryAttention (positions come from the attention mask)
 * and plain operators with a `position_ids` input. Names and shapes are read from the graph and checked once, at load,
 * so that an export of another kind is refused by name and does not fail in the middle of an answer.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node'

// Rows of prompt per call: logits are [1, chunk, vocabulary], which for a long prompt in one call could be gigabytes.
const PREFILL_CHUNK = 128

const PAST = 'past_key_values.'
const PRESENT = 'present.'
const INPUTS = ['input_ids', 'attention_mask', 'position_ids']

/** Keys and values of one row: each tensor is [1, kv heads, length, head size], by the name it is fed under. */
export type KvCache = { length: number; past: Record<string, Tensor> }

export class Decoder {
  readonly #session: InferenceSession
  /** The names after `past_key_values.` and `present.`: `0.key`, `0.value`, `1.key` … */
  readonly #kvNames: string[]
  readonly #ones: BigInt64Array

  private constructor(session: InferenceSession, kvNames: string[], contextTokens: number) {
    this.#session = session
    this.#kvNames = kvNames
    this.#ones = new BigInt64Array(contextTokens).fill(1n)
  }

  /**
   * @param path of the .onnx file
   * @param contextTokens the most positions that a row will have
   * @throws Error when the graph cannot be loaded or is of a kind that is not supported
   */
  static async open(path: string, contextTokens: number): Promise<Decoder> {
    // One thread: the batch loops of several workers share the cores, and more threads per session measured slower.
    const session = await InferenceSession.create(path, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    })
    try {
      return new Decoder(session, checkGraph(session), contextTokens)
    } catch (error) {
      await session.release()
      throw new Error(`${path}: ${(error as Error).message}`)
    }
  }

  emptyCache(): KvCache {
    const past: Record<string, Tensor> = {}
    for (const name of this.#kvNames) {
      const [, heads, , headSize] = shapeOf(this.#session.inputMetadata, PAST + name)
      past[PAST + name] = new Tensor('float32', new Float32Array(0), [1, Number(heads), 0, Number(headSize)])
    }
    return { length: 0, past }
  }

  /**
   * Runs `ids` after what the cache holds, and puts their keys and values into it.
   * @param ids at least one
   * @returns [vocabulary], the logits for the token after the last id; the caller's to change
   */
  async run(ids: readonly number[], cache: KvCache): Promise<Float32Array> {
    let from = 0
    for (; from + PREFILL_CHUNK < ids.length; from += PREFILL_CHUNK) {
      await this.#call(ids.slice(from, from + PREFILL_CHUNK), cache, false)
    }
    const { logits } = await this.#call(ids.slice(from), cache, true)
    const data = (logits as Tensor).data as Float32Array
    const vocabulary = (logits as Tensor).dims[2] as number
    return data.subarray(data.length - vocabulary)
  }

  /** Outputs are tensors, and floats: checkGraph has seen to it. */
  async #call(ids: number[], cache: KvCache, wantLogits: boolean): Promise<InferenceSession.ReturnType> {
    const total = cache.length + ids.length
    const feeds: Record<string, Tensor> = {
      ...cache.past,
      input_ids: int64(BigInt64Array.from(ids, BigInt)),
      attention_mask: int64(this.#ones.subarray(0, total)),
    }
    if (this.#session.inputNames.includes('position_ids')) {
      feeds.position_ids = int64(BigInt64Array.from(ids, (_, i) => BigInt(cache.length + i)))
    }
    const fetches = this.#kvNames.map((name) => PRESENT + name)
    const outputs = await this.#session.run(feeds, wantLogits ? ['logits', ...fetches] : fetches)
    for (const name of this.#kvNames) cache.past[PAST + name] = outputs[PRESENT + name] as Tensor
    cache.length = total
    return outputs
  }

  close(): Promise<void> {
    return this.#session.release()
  }
}

/** One row: [1, length]. */
const int64 = (data: BigInt64Array): Tensor => new Tensor('int64', data, [1, data.length])

/** @returns the names of the key and value tensors */
const checkGraph = ({ inputNames, outputNames, inputMetadata, outputMetadata }: InferenceSession): string[] => {
  const kvNames = inputNames.filter((name) => name.startsWith(PAST)).map((name) => name.slice(PAST.length))
  if (kvNames.length === 0) throw new Error('the graph has no past_key_values inputs: it was exported without a cache')
  const missing = ['input_ids', 'attention_mask'].find((name) => !inputNames.includes(name))
  if (missing) throw new Error(`the graph has no input ${missing}`)
  const unknown = inputNames.find((name) => !name.startsWith(PAST) && !INPUTS.includes(name))
  if (unknown) throw new Error(`the graph has an input ${unknown}, which is not supported`)
  const absent = ['logits', ...kvNames.map((name) => PRESENT + name)].find((name) => !outputNames.includes(name))
  if (absent) throw new Error(`the graph has no output ${absent}`)
  for (const name of kvNames) {
    const [, heads, , headSize] = shapeOf(inputMetadata, PAST + name)
    if (typeof heads !== 'number' || typeof headSize !== 'number') {
      throw new Error(`the input ${PAST}${name} has no fixed number of heads and head size`)
    }
  }
  for (const value of [...inputMetadata, ...outputMetadata]) {
    const floats = value.name === 'logits' || value.name.startsWith(PAST) || value.name.startsWith(PRESENT)
    if (floats && !(value.isTensor && value.type === 'float32')) throw new Error(`${value.name} is not float32`)
  }
  return kvNames
}

const shapeOf = (values: readonly InferenceSession.ValueMetadata[], name: string): readonly (number | string)[] => {
  const value = values.find((value) => value.name === name)
  return value?.isTensor ? value.shape : []
}
