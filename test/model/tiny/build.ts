/**
 * Builds a Hugging Face model directory with random weights, small enough that a test makes its own.
 *
 * The same options give the same bytes, and options that change only the layout of the graph, the precision or where
 * the data lies change no weight. The weights are scaled so that a greedy answer is varied, has clear choices, and
 * does not end by chance: the ids that end a text have small logits. A test that wants an end names another id in
 * generation_config.json.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Json } from '../../../src/model/json-file.js'
import { type Bert, bertGraph, type Pooling } from './bert.js'
import { gpt2Graph } from './gpt2.js'
import type { Precision } from './linear.js'
import { EPSILON, type Llama, type LlamaLayout, llamaGraph } from './llama.js'
import type { Graph } from './onnx-graph.js'
import {
  byteLevelBpe,
  DECODER_VOCAB,
  type DecoderFamily,
  ENCODER_VOCAB,
  FAMILIES,
  idOf,
  wordPiece,
} from './tokenizers.js'

type CommonOptions = {
  /** 1 */
  seed?: number
  /** 2 */
  layers?: number
  /** 4 */
  heads?: number
  /** 16; `heads * headSize`, the hidden size, must be a multiple of 32 for `q4` */
  headSize?: number
  /** Positions; 256. */
  context?: number
  /** Graphs beside onnx/model.onnx: onnx/model_q4.onnx, onnx/model_quantized.onnx. None. */
  quantized?: readonly ('q4' | 'int8')[]
  /** The weights of each graph in a file beside it: onnx/model.onnx_data. false */
  externalData?: boolean
}

type DecoderOptions = CommonOptions & {
  /** In config.json as one id or as a list, or only in generation_config.json, as a list. 'number' */
  eos?: 'number' | 'list' | 'generation'
  /** In tokenizer_config.json, in chat_template.jinja, or in neither. null */
  chatTemplate?: 'config' | 'file' | null
  /** What generation_config.json has beside that; null for no such file where it is not needed. null */
  generation?: Json | null
}

export type TinyOptions =
  | (DecoderOptions & {
      /** qwen2 has biases at q, k and v. */
      type: 'llama' | 'qwen2'
      /** 'packed' */
      layout?: LlamaLayout
      /** 2 */
      kvHeads?: number
      /** Sliding window: the positions that a token sees, itself included. null */
      window?: number | null
      /** Scores are kept under this. null */
      softcap?: number | null
      /** false */
      tied?: boolean
    })
  | (DecoderOptions & {
      type: 'gpt2'
      /** From the input `position_ids`, or from the length of the past. 'input' */
      positions?: 'input' | 'past'
      /** LayerNormalization as one operator. false */
      fusedNorm?: boolean
    })
  | (CommonOptions & {
      type: 'bert'
      /** The input `token_type_ids`. true */
      tokenTypes?: boolean
      /** The output `sentence_embedding`, pooled as `pooling` says, by mean where it is null. false */
      sentenceEmbedding?: boolean
      /** modules.json and 1_Pooling/config.json, as sentence-transformers has them. null */
      pooling?: Pooling | null
      /** A last module that makes every embedding 1 long. false */
      normalize?: boolean
    })

/** What is put on disk: JSON files by their path, and the graph in any precision. */
type Contents = { files: Record<string, Json | Json[] | string>; graph: (precision: Precision) => Graph }

const GRAPH_FILES = { float: 'model.onnx', q4: 'model_q4.onnx', int8: 'model_quantized.onnx' } as const
const INTERMEDIATE = 128

/** @returns `dir`, which is made if it does not exist */
export const buildTinyModel = async (dir: string, options: TinyOptions): Promise<string> => {
  const { files, graph } = contentsOf(options)
  await mkdir(join(dir, 'onnx'), { recursive: true })
  for (const [file, content] of Object.entries(files)) {
    await mkdir(join(dir, file, '..'), { recursive: true })
    await writeFile(join(dir, file), typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`)
  }
  for (const precision of ['float', ...(options.quantized ?? [])] as const) {
    const file = GRAPH_FILES[precision]
    const { model, external } = graph(precision).files(options.externalData ? `${file}_data` : null)
    await writeFile(join(dir, 'onnx', file), model)
    if (external) await writeFile(join(dir, 'onnx', `${file}_data`), external)
  }
  return dir
}

const contentsOf = (options: TinyOptions): Contents => {
  switch (options.type) {
    case 'llama':
    case 'qwen2':
      return llamaContents(options)
    case 'gpt2':
      return gpt2Contents(options)
    case 'bert':
      return bertContents(options)
    default:
      return options satisfies never
  }
}

const sizesOf = ({ seed = 1, layers = 2, heads = 4, headSize = 16, context = 256 }: CommonOptions) => ({
  seed,
  layers,
  heads,
  headSize,
  context,
  intermediate: INTERMEDIATE,
})

const llamaContents = (options: Extract<TinyOptions, { type: 'llama' | 'qwen2' }>): Contents => {
  const { type, layout = 'packed', kvHeads = 2, window = null, softcap = null, tied = false } = options
  const llama: Llama = {
    ...sizesOf(options),
    layout,
    kvHeads,
    window,
    softcap,
    tied,
    vocab: DECODER_VOCAB,
    qkvBias: type === 'qwen2',
    ropeTheta: 10_000,
    silentIds: specialIds(type),
  }
  return {
    files: decoderFiles(type, options, llama.context, llamaConfig(llama)),
    graph: (precision) => llamaGraph(llama, precision),
  }
}

const llamaConfig = (llama: Llama): Json => {
  const qwen2 = llama.qkvBias
  // Llama has no window; with one, the same network is called Mistral.
  const name = qwen2 ? 'Qwen2' : llama.window === null ? 'Llama' : 'Mistral'
  return {
    architectures: [`${name}ForCausalLM`],
    model_type: name.toLowerCase(),
    hidden_size: llama.heads * llama.headSize,
    intermediate_size: llama.intermediate,
    num_hidden_layers: llama.layers,
    num_attention_heads: llama.heads,
    num_key_value_heads: llama.kvHeads,
    // Qwen2 leaves it to hidden_size / num_attention_heads.
    ...(qwen2 ? {} : { head_dim: llama.headSize }),
    max_position_embeddings: llama.context,
    rms_norm_eps: EPSILON,
    rope_theta: llama.ropeTheta,
    hidden_act: 'silu',
    tie_word_embeddings: llama.tied,
    ...(llama.window === null ? {} : { sliding_window: llama.window }),
    ...(llama.window !== null && qwen2 ? { use_sliding_window: true } : {}),
    ...(llama.softcap === null ? {} : { attn_logit_softcapping: llama.softcap }),
  }
}

const gpt2Contents = (options: Extract<TinyOptions, { type: 'gpt2' }>): Contents => {
  const { positions = 'input', fusedNorm = false } = options
  const sizes = sizesOf(options)
  const config = {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    n_positions: sizes.context,
    n_ctx: sizes.context,
    n_embd: sizes.heads * sizes.headSize,
    n_layer: sizes.layers,
    n_head: sizes.heads,
    n_inner: sizes.intermediate,
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
  }
  const gpt2 = { ...sizes, positions, fusedNorm, vocab: DECODER_VOCAB, silentIds: specialIds('gpt2') }
  return {
    files: decoderFiles('gpt2', options, sizes.context, config),
    graph: (precision) => gpt2Graph(gpt2, precision),
  }
}

const specialIds = (family: DecoderFamily): number[] =>
  FAMILIES[family].specials.map((special) => idOf(family, special))

const decoderFiles = (
  family: DecoderFamily,
  { eos = 'number', chatTemplate = null, generation = null }: DecoderOptions,
  context: number,
  config: Json,
): Contents['files'] => {
  const { bosToken, ends, template } = FAMILIES[family]
  const endIds = ends.map((end) => idOf(family, end))
  const eosId = { number: endIds[0], list: endIds, generation: null }[eos]
  const [tokenizer, tokenizerConfig] = byteLevelBpe(family, context)
  const files: Contents['files'] = {
    'config.json': {
      ...config,
      vocab_size: DECODER_VOCAB,
      bos_token_id: bosToken === null ? null : idOf(family, bosToken),
      ...(eosId === null ? {} : { eos_token_id: eosId }),
      torch_dtype: 'float32',
      use_cache: true,
    },
    'tokenizer.json': tokenizer,
    'tokenizer_config.json':
      chatTemplate === 'config' ? { ...tokenizerConfig, chat_template: template } : tokenizerConfig,
  }
  if (chatTemplate === 'file') files['chat_template.jinja'] = template
  if (eos === 'generation') files['generation_config.json'] = { ...generation, eos_token_id: endIds }
  else if (generation) files['generation_config.json'] = generation
  return files
}

const bertContents = (options: Extract<TinyOptions, { type: 'bert' }>): Contents => {
  const { tokenTypes = true, sentenceEmbedding = false, pooling = null, normalize = false } = options
  const sizes = sizesOf(options)
  const bert: Bert = {
    ...sizes,
    vocab: ENCODER_VOCAB,
    tokenTypes,
    sentenceEmbedding: sentenceEmbedding ? { pooling: pooling ?? 'mean', normalize } : null,
  }
  const hidden = sizes.heads * sizes.headSize
  const [tokenizer, tokenizerConfig] = wordPiece(sizes.context)
  return {
    files: {
      'config.json': {
        architectures: ['BertModel'],
        model_type: 'bert',
        vocab_size: ENCODER_VOCAB,
        hidden_size: hidden,
        num_hidden_layers: sizes.layers,
        num_attention_heads: sizes.heads,
        intermediate_size: sizes.intermediate,
        hidden_act: 'gelu',
        layer_norm_eps: 1e-5,
        max_position_embeddings: sizes.context,
        type_vocab_size: 2,
        position_embedding_type: 'absolute',
        pad_token_id: 0,
        torch_dtype: 'float32',
      },
      'tokenizer.json': tokenizer,
      'tokenizer_config.json': tokenizerConfig,
      ...(pooling === null ? {} : poolingFiles(pooling, normalize, hidden)),
    },
    graph: (precision) => bertGraph(bert, precision),
  }
}

const poolingFiles = (pooling: Pooling, normalize: boolean, hidden: number): Contents['files'] => {
  const modules = ['Transformer', 'Pooling', ...(normalize ? ['Normalize'] : [])]
  return {
    'modules.json': modules.map((name, idx) => ({
      idx,
      name: String(idx),
      path: idx === 0 ? '' : `${idx}_${name}`,
      type: `sentence_transformers.models.${name}`,
    })),
    '1_Pooling/config.json': {
      word_embedding_dimension: hidden,
      pooling_mode_cls_token: pooling === 'cls',
      pooling_mode_mean_tokens: pooling === 'mean',
      pooling_mode_max_tokens: false,
      pooling_mode_mean_sqrt_len_tokens: false,
    },
  }
}
