import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Json } from '../../src/model/json-file.js'
import { checkShape, type ModelConfig, readModelConfig } from '../../src/model/model-config.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))

const LLAMA = {
  max_position_embeddings: 2048,
  hidden_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  eos_token_id: 7,
}

/** A directory of its own for each. */
const write = (config: Json, generation: Json | null = null): string => {
  const dir = mkdtempSync(join(temporary, 'model-'))
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config))
  if (generation) writeFileSync(join(dir, 'generation_config.json'), JSON.stringify(generation))
  return dir
}

const read = (config: Json, generation: Json | null = null): ModelConfig => readModelConfig(write(config, generation))

test('a Llama is read whole, and what it does not say is greedy and sees everything', () => {
  assert.deepEqual(read(LLAMA), {
    contextTokens: 2048,
    shape: { tensors: 6, heads: 2, headSize: 16 },
    windowTokens: null,
    eosIds: new Set([7]),
    sampling: {
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: [],
    },
  })
})

test('the size of a head is the config’s own where it says one', () => {
  assert.equal(read({ ...LLAMA, head_dim: 128 }).shape.headSize, 128)
  assert.equal(read({ ...LLAMA, head_dim: null }).shape.headSize, 16)
})

test('without heads for keys and values there are as many as for queries', () => {
  const { num_key_value_heads: _, ...ungrouped } = LLAMA

  assert.equal(read(ungrouped).shape.heads, 4)
  assert.equal(read({ ...LLAMA, num_key_value_heads: null }).shape.heads, 4)
})

test('each family’s names are understood', () => {
  const gpt2 = { n_positions: 1024, n_ctx: 512, n_embd: 768, n_layer: 12, n_head: 12 }
  const neo = { max_position_embeddings: 2048, hidden_size: 768, num_layers: 12, num_heads: 12 }
  const bloom = { seq_length: 2048, hidden_size: 1024, n_layer: 24, n_head: 16 }
  const oldest = { n_ctx: 512, n_embd: 768, n_layer: 6, n_head: 12 }

  const sizes = (config: Json) => {
    const { contextTokens, shape } = read(config)
    return { contextTokens, ...shape }
  }

  assert.deepEqual(sizes(gpt2), { contextTokens: 1024, tensors: 24, heads: 12, headSize: 64 })
  assert.deepEqual(sizes(neo), { contextTokens: 2048, tensors: 24, heads: 12, headSize: 64 })
  assert.deepEqual(sizes(bloom), { contextTokens: 2048, tensors: 48, heads: 16, headSize: 64 })
  assert.deepEqual(sizes(oldest), { contextTokens: 512, tensors: 12, heads: 12, headSize: 64 })
})

test('a Falcon has one head, its own number of heads, or one for each query, as its architecture says', () => {
  const falcon = { max_position_embeddings: 2048, hidden_size: 8192, num_hidden_layers: 60, num_attention_heads: 128 }
  const heads = (fields: Json): number => read({ ...falcon, ...fields }).shape.heads

  assert.equal(heads({ multi_query: true }), 1)
  // As falcon-7b has it: the number of heads is of queries there.
  assert.equal(heads({ multi_query: true, num_kv_heads: 71 }), 1)
  assert.equal(heads({ multi_query: true, new_decoder_architecture: false, num_kv_heads: 71 }), 1)
  // As falcon-40b has it.
  assert.equal(heads({ multi_query: true, new_decoder_architecture: true, num_kv_heads: 8 }), 8)
  assert.equal(heads({ multi_query: false, num_kv_heads: 8 }), 8)
  assert.equal(heads({ multi_query: false }), 128)
})

test('a field that is missing or wrong is named', () => {
  const refusal = (fields: Json, message: string): void => {
    const dir = write({ ...LLAMA, ...fields })
    assert.throws(() => readModelConfig(dir), { message: `${dir}/config.json${message}` })
  }

  refusal({ max_position_embeddings: undefined }, ' has no max_position_embeddings')
  refusal({ num_hidden_layers: undefined }, ' has no num_hidden_layers')
  refusal({ num_attention_heads: '4' }, ' has no num_attention_heads')
  refusal({ hidden_size: null }, ' has no hidden_size')
  refusal({ num_hidden_layers: 1.5 }, ': num_hidden_layers is 1.5, not a whole number over 0')
  refusal({ num_attention_heads: 0 }, ': num_attention_heads is 0, not a whole number over 0')
  refusal({ hidden_size: -64 }, ': hidden_size is -64, not a whole number over 0')
  refusal({ max_position_embeddings: 1 }, ': a context of 1 tokens has no room')
  // The name that the config has, not the one that most have.
  refusal({ max_position_embeddings: undefined, n_positions: 0.5 }, ': n_positions is 0.5, not a whole number over 0')
})

test('a directory without a config, or with one that is no object, is named', () => {
  const empty = mkdtempSync(join(temporary, 'model-'))
  const list = write(LLAMA)
  writeFileSync(join(list, 'config.json'), '[]')

  assert.throws(() => readModelConfig(empty), /config\.json: ENOENT/)
  assert.throws(() => readModelConfig(list), { message: `${list}/config.json: not a JSON object` })
})

test('a window counts unless the config says that it is not used', () => {
  const windowOf = (fields: Json): number | null => read({ ...LLAMA, ...fields }).windowTokens

  assert.equal(windowOf({ sliding_window: 512 }), 512)
  assert.equal(windowOf({ sliding_window: 512, use_sliding_window: true }), 512)
  assert.equal(windowOf({ sliding_window: 512, use_sliding_window: false }), null)
  assert.equal(windowOf({ sliding_window: null }), null)
  assert.equal(windowOf({ use_sliding_window: true }), null)
})

test('the ids that end a text are one or a list, and generation_config.json comes first', () => {
  const ends = (config: unknown, generation: Json | null = null): number[] | null => {
    const { eosIds } = read({ ...LLAMA, eos_token_id: config }, generation)
    return eosIds && [...eosIds]
  }

  assert.deepEqual(ends(7), [7])
  assert.deepEqual(ends([7, 9]), [7, 9])
  assert.deepEqual(ends(0), [0])
  assert.deepEqual(ends(7, { eos_token_id: [8, 9] }), [8, 9])
  assert.deepEqual(ends(7, { eos_token_id: 0 }), [0])
  assert.deepEqual(ends(7, { eos_token_id: null }), [7])
  assert.deepEqual(ends(7, {}), [7])
})

test('where neither file names an end, the tokenizer’s counts', () => {
  for (const none of [undefined, null, [], '</s>', [null]]) {
    assert.equal(read({ ...LLAMA, eos_token_id: none }).eosIds, null)
  }
})

test('the makers’ sampling is taken, and without do_sample it is greedy', () => {
  const generation = { do_sample: true, temperature: 0.6, top_k: 20, top_p: 0.9, min_p: 0.05, repetition_penalty: 1.1 }
  const sampling = { topK: 20, topP: 0.9, minP: 0.05, repetitionPenalty: 1.1 }
  const silent = { presencePenalty: 0, frequencyPenalty: 0, logitBias: [] }

  assert.deepEqual(read(LLAMA, generation).sampling, { ...sampling, ...silent, temperature: 0.6 })
  assert.deepEqual(read(LLAMA, { ...generation, do_sample: false }).sampling, {
    ...sampling,
    ...silent,
    temperature: 0,
  })
  assert.equal(read(LLAMA, { do_sample: true }).sampling.temperature, 1)
})

test('a graph of other keys and values than the config’s is refused with both', () => {
  const config = { tensors: 6, heads: 2, headSize: 16 }

  checkShape('/models/tiny', config, { ...config })
  for (const [other, told] of [
    [{ tensors: 4 }, '2 layers with 2 key/value heads of size 16'],
    [{ heads: 4 }, '3 layers with 4 key/value heads of size 16'],
    [{ headSize: 64 }, '3 layers with 2 key/value heads of size 64'],
  ] as const) {
    assert.throws(() => checkShape('/models/tiny', config, { ...config, ...other }), {
      message: `/models/tiny/config.json tells of 3 layers with 2 key/value heads of size 16, but the graph has ${told}`,
    })
  }
})
