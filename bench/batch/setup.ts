/**
 * What every side of the batch benchmark shares: the graph, the prompts, and how a side tells its result.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Generation, OnnxSource } from '../../src/model/model.js'
import { planDecoder } from '../../src/model/source.js'

/** From dist/bench/batch. */
export const MODEL_DIR = fileURLToPath(new URL('../../../models/default', import.meta.url))
export const MODEL_FILE = process.env.BENCH_MODEL_FILE ?? 'onnx/model.onnx'
export const END_OF_TEXT = 0

export const PROMPTS: string[] = (
  JSON.parse(readFileSync(join(MODEL_DIR, 'reference.json'), 'utf8')) as { prompt: string }[]
).map(({ prompt }) => prompt)

export const benchSource = (options: { slots: number; threads: number }): OnnxSource =>
  planDecoder('bench', MODEL_DIR, {
    file: MODEL_FILE,
    maxKvBytes: 1024 * 1_048_576,
    prefixCacheBytes: 0,
    prefillChunk: 64,
    ...options,
  })

/** Greedy, and never at its end before its last token. */
export const generationOf = (number: number, maxTokens: number): Generation => ({
  prompt: { type: 'text', text: PROMPTS[number % PROMPTS.length] as string },
  promptIds: null,
  sampling: { seed: 1, temperature: 0, logitBias: [[END_OF_TEXT, -100]] },
  maxTokens,
  recorded: [],
  topLogprobs: null,
})

export type Report = { type: 'rates'; value: number[] } | { type: 'failed'; value: string }

export const report = (type: Report['type'], value: unknown = ''): void => {
  process.send?.({ type, value })
}
