/**
 * A bare `session.run` loop: the ceiling for whoever decodes so many rows in one call.
 *
 * All rows are of equal length and start after `promptTokens`; the likeliest token is taken and nothing else is done.
 * Keys and values are kept in one of three ways:
 *   `given`     every step gives out all of them and is fed them again: the ordinary loop
 *   `appended`  own buffers are fed, and the graph gives out the newest position only
 *   `shared`    the same buffer is fed and fetched, so that attention writes in place; the binding copies it out
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import {
  AT_INPUT,
  addedOutputs,
  checkGraph,
  LOGITS_OUTPUT,
  PAST,
  PRESENT,
  readGraph,
  STEP_OUTPUT,
} from '../../src/model/graph.js'
import { BUCKET_TOKENS, KvCache } from '../../src/model/kv-cache.js'
import { argmax } from '../../src/model/select.js'
import { type Job, MODEL_DIR, measure, readJob, report } from './setup.js'

type Keep = NonNullable<Job['keep']>

const job = readJob()
const { width, threads, tokens, keep = 'given', promptTokens = 16 } = job

const file = readFileSync(join(MODEL_DIR, job.file))
const graph = readGraph(file)
const { kvNames, shape } = checkGraph(graph)
const { heads, headSize } = shape
const session = await InferenceSession.create(Buffer.concat([file, addedOutputs(kvNames, shape, null)]), {
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
})

const int64 = (values: number[], dims: number[]): Tensor =>
  new Tensor('int64', BigInt64Array.from(values, BigInt), dims)
const ones = (dims: [number, number]): Tensor =>
  new Tensor('int64', new BigInt64Array(dims[0] * dims[1]).fill(1n), dims)
const floats = (data: Float32Array, length: number): Tensor =>
  new Tensor('float32', data, [width, heads, length, headSize])
const zeros = (length: number): Float32Array => new Float32Array(width * heads * length * headSize)

type Step = (ids: number[], length: number) => Promise<Float32Array>

/** @returns logits [width x vocabulary] for rows that have `length` positions before this step */
const steps: Record<Keep, () => Step> = {
  given: () => {
    let past = kvNames.map(() => floats(zeros(promptTokens), promptTokens))
    return async (ids, length) => {
      const fetches = ['logits', ...kvNames.map((name) => PRESENT + name)]
      const outputs = await session.run({ ...feeds(ids, length, length), ...named(past) }, fetches)
      past = kvNames.map((name) => outputs[PRESENT + name] as Tensor)
      return (outputs.logits as Tensor).data as Float32Array
    }
  },
  shared: () => {
    const capacity = Math.ceil((promptTokens + tokens) / BUCKET_TOKENS) * BUCKET_TOKENS
    const past = kvNames.map(() => floats(zeros(capacity), capacity))
    const present = Object.fromEntries(kvNames.map((name, i) => [PRESENT + name, past[i] as Tensor]))
    return async (ids, length) => {
      const outputs = await session.run({ ...feeds(ids, length, length), ...named(past) }, { logits: null, ...present })
      return (outputs.logits as Tensor).data as Float32Array
    }
  },
  appended: () => {
    const contextTokens = promptTokens + tokens
    const cache = new KvCache({ shape, slots: width, contextTokens, granularity: BUCKET_TOKENS })
    for (let row = 0; row < width; row++) cache.add(promptTokens)
    cache.append(cache.front, new Float32Array(width * shape.tensors * heads * promptTokens * headSize), promptTokens)
    return async (ids, length) => {
      const { front, buffers } = cache
      const past = buffers.map((buffer) =>
        floats(buffer.subarray(0, width * heads * front.bucket * headSize), front.bucket),
      )
      const at = graph.layout === 'position' ? length : front.bucket
      const outputs = await session.run({ ...feeds(ids, length, at), ...named(past) }, [LOGITS_OUTPUT, STEP_OUTPUT])
      cache.append(front, (outputs[STEP_OUTPUT] as Tensor).data as Float32Array, 1)
      return (outputs[LOGITS_OUTPUT] as Tensor).data as Float32Array
    }
  },
}

const feeds = (ids: number[], length: number, at: number): Record<string, Tensor> => ({
  input_ids: int64(ids, [width, 1]),
  attention_mask: ones([width, length + 1]),
  [AT_INPUT]: int64(Array(width).fill(at), [width, 1, 1, 1]),
})

const named = (past: Tensor[]): Record<string, Tensor> =>
  Object.fromEntries(kvNames.map((name, i) => [PAST + name, past[i] as Tensor]))

const rates = await measure(job, async () => {
  const step = steps[keep]()
  let ids = Array.from({ length: width }, (_, row) => 100 + row)
  for (let i = 0; i < tokens; i++) {
    const logits = await step(ids, promptTokens + i)
    const vocabulary = logits.length / width
    ids = ids.map((_, row) => argmax(logits.subarray(row * vocabulary, (row + 1) * vocabulary)))
  }
})
await session.release()
report({ rates })
