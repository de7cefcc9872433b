/**
 * What every side of the batch benchmark shares: its job, the prompts, and how it tells its result.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Each side is forked with its job as JSON; `tokens` are those of each of `width` answers. */
export type Job = {
  side: 'ours' | 'bare' | 'transformers'
  /** The graph, relative to MODEL_DIR. */
  file: string
  width: number
  workers: number
  threads: number
  tokens: number
  /** How a bare loop keeps keys and values. */
  keep?: 'given' | 'appended' | 'shared'
  /** Positions that the rows of a bare loop start with. */
  promptTokens?: number
}

/** Tokens a second of each round after the first, which warms up; or why there are none. */
export type Result = { rates: number[] } | { failed: string }

/** From dist/bench/batch. */
export const MODEL_DIR = fileURLToPath(new URL('../../../models/default', import.meta.url))

export const PROMPTS: string[] = (
  JSON.parse(readFileSync(join(MODEL_DIR, 'reference.json'), 'utf8')) as { prompt: string }[]
).map(({ prompt }) => prompt)

export const readJob = (): Job => JSON.parse(process.argv[2] ?? '{}') as Job

export const report = (result: Result): void => {
  process.send?.(result)
}

/** `round` makes width x tokens tokens; the first of ROUNDS does not count. */
export const measure = async ({ width, tokens }: Job, round: (number: number) => Promise<void>): Promise<number[]> => {
  const rates: number[] = []
  for (let number = 0; number < ROUNDS; number++) {
    const from = performance.now()
    await round(number)
    if (number > 0) rates.push((width * tokens * 1000) / (performance.now() - from))
  }
  return rates
}

const ROUNDS = 4
