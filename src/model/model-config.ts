/**
 * What the gateway needs of config.json and generation_config.json: the context, the ids that end a text, and how the
 * model's makers want it sampled. Everything about shapes is read from the graph itself, which cannot disagree with it.
 */
import { type Json, readJson, readOptionalJson } from './json-file.js'
import type { SamplerSettings } from './sampler.js'

export type ModelConfig = {
  /** Prompt and answer together, in tokens: as many positions as the model knows. */
  contextTokens: number
  eosIds: ReadonlySet<number>
  /** What a request that says nothing gets; without `do_sample` that is the likeliest token, as in `generate`. */
  sampling: Omit<SamplerSettings, 'seed'>
}

/** @throws Error that names the field */
export const readModelConfig = (dir: string): ModelConfig => {
  const config = readJson(dir, 'config.json')
  const generation = readOptionalJson(dir, 'generation_config.json')
  const contextTokens = numberOf(config, ['max_position_embeddings', 'n_positions'])
  if (contextTokens === null || !Number.isInteger(contextTokens) || contextTokens < 2) {
    throw new Error(`${dir}/config.json: max_position_embeddings is not an integer over 1`)
  }
  const eosIds = new Set(idsOf(generation.eos_token_id ?? config.eos_token_id))
  return { contextTokens, eosIds, sampling: samplingOf(generation) }
}

const samplingOf = (generation: Json): Omit<SamplerSettings, 'seed'> => ({
  temperature: generation.do_sample === true ? (numberOf(generation, ['temperature']) ?? 1) : 0,
  topK: numberOf(generation, ['top_k']) ?? 0,
  topP: numberOf(generation, ['top_p']) ?? 1,
  minP: numberOf(generation, ['min_p']) ?? 0,
  repetitionPenalty: numberOf(generation, ['repetition_penalty']) ?? 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
})

/** The first of the fields that is a number. */
const numberOf = (json: Json, fields: string[]): number | null => {
  for (const field of fields) {
    const value = json[field]
    if (typeof value === 'number') return value
  }
  return null
}

/** One id, a list of ids, or none. */
const idsOf = (value: unknown): number[] => {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.filter((id) => typeof id === 'number')
}
