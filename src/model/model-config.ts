/**
 * What the gateway needs of config.json and generation_config.json: shapes, the context, the ids that end a text, and
 * how the model's makers want it sampled. Families name the same things differently (llama and qwen2, gpt2, falcon);
 * the first name that is there counts.
 */
import { type Json, readJson, readOptionalJson } from './json-file.js'
import type { KvShape } from './kv-cache.js'
import type { SamplerSettings } from './sampler.js'

export type ModelConfig = {
  /** Prompt and answer together, in tokens: as many positions as the model knows. */
  contextTokens: number
  /** Of keys and values, as the config says; the graph must agree. */
  shape: KvShape
  /** Attention looks back so far only; null where it sees everything. */
  windowTokens: number | null
  /** Ids that end a text; null when neither file names one, and the tokenizer's end of text counts. */
  eosIds: ReadonlySet<number> | null
  /** What a request that says nothing gets; without `do_sample` that is the likeliest token, as in `generate`. */
  sampling: Omit<SamplerSettings, 'seed'>
}

/** @throws Error that names the field */
export const readModelConfig = (dir: string): ModelConfig => {
  const config = readJson(dir, 'config.json')
  const generation = readOptionalJson(dir, 'generation_config.json')
  const size = (fields: string[]): number => sizeOf(dir, config, fields)
  const contextTokens = size(['max_position_embeddings', 'n_positions', 'n_ctx', 'max_sequence_length', 'seq_length'])
  if (contextTokens < 2) throw new Error(`${dir}/config.json: a context of ${contextTokens} tokens has no room`)
  const queryHeads = size(['num_attention_heads', 'n_head', 'num_heads'])
  const shape = {
    tensors: 2 * size(['num_hidden_layers', 'n_layer', 'num_layers']),
    heads: hasOneHead(config) ? 1 : (numberOf(config, ['num_key_value_heads', 'num_kv_heads']) ?? queryHeads),
    headSize: numberOf(config, ['head_dim']) ?? size(['hidden_size', 'n_embd', 'd_model']) / queryHeads,
  }
  const ids = idsOf(generation.eos_token_id ?? config.eos_token_id)
  return {
    contextTokens,
    shape,
    windowTokens: config.use_sliding_window === false ? null : numberOf(config, ['sliding_window', 'window_size']),
    eosIds: ids.length > 0 ? new Set(ids) : null,
    sampling: samplingOf(generation),
  }
}

/** @throws Error when the graph's keys and values are not those of the config: the memory was planned for others */
export const checkShape = (dir: string, config: KvShape, graph: KvShape): void => {
  const told = (shape: KvShape): string =>
    `${shape.tensors / 2} layers with ${shape.heads} key/value heads of size ${shape.headSize}`
  if (told(config) === told(graph)) return
  throw new Error(`${dir}/config.json tells of ${told(config)}, but the graph has ${told(graph)}`)
}

/** Falcon's newer architecture has groups, whatever `multi_query` says. */
const hasOneHead = (config: Json): boolean => config.multi_query === true && config.new_decoder_architecture !== true

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

const isNumber = (value: unknown): value is number => typeof value === 'number'

/** The first of the fields that is a number. */
export const numberOf = (json: Json, fields: string[]): number | null => {
  const values = fields.map((field) => json[field])
  return values.find(isNumber) ?? null
}

/** A whole number over 0, which the config must have. */
export const sizeOf = (dir: string, config: Json, fields: string[]): number => {
  const field = fields.find((field) => isNumber(config[field]))
  if (field === undefined) throw new Error(`${dir}/config.json has no ${fields[0]}`)
  const size = config[field] as number
  if (Number.isInteger(size) && size > 0) return size
  throw new Error(`${dir}/config.json: ${field} is ${size}, not a whole number over 0`)
}

/** One id, a list of ids, or none. */
const idsOf = (value: unknown): number[] => {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.filter(isNumber)
}
