/**
 * Whether a model directory makes text (a decoder) or embeddings (an encoder), from its small files alone.
 *
 * What sentence-transformers wrote is an encoder. Else config.json decides: encoders are few families, and known by
 * name; a decoder is what its architecture says, or what says nothing, so that no decoder is refused for its name.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readJson } from './json-file.js'

export type ModelKind = 'decoder' | 'encoder'

const ENCODERS: ReadonlySet<unknown> = new Set([
  'albert',
  'bert',
  'camembert',
  'convbert',
  'deberta',
  'deberta-v2',
  'distilbert',
  'electra',
  'ernie',
  'mobilebert',
  'modernbert',
  'mpnet',
  'new',
  'nomic_bert',
  'roberta',
  'roberta-prelayernorm',
  'roformer',
  'xlm-roberta',
  'xlm-roberta-xl',
])

/** What sentence-transformers puts beside the model. */
const SENTENCE_FILES = ['modules.json', '1_Pooling/config.json']
/** ChatGLM's architecture is the one whose name does not say it. */
const DECODER = /(CausalLM|LMHeadModel|ChatGLMModel)$/

/** @throws Error that names what config.json says, when the directory is neither */
export const readKind = (dir: string): ModelKind => {
  const config = readJson(dir, 'config.json')
  if (SENTENCE_FILES.some((file) => existsSync(join(dir, file)))) return 'encoder'
  const type = config.model_type
  const architectures: unknown[] = Array.isArray(config.architectures) ? config.architectures : []
  const decodes = architectures.some((name) => DECODER.test(String(name)))
  if (ENCODERS.has(type) && config.is_decoder !== true && !decodes) return 'encoder'
  if (config.is_encoder_decoder !== true && (decodes || architectures.length === 0)) return 'decoder'
  const told = `model_type ${JSON.stringify(type)}, architectures ${JSON.stringify(architectures)}`
  throw new Error(
    `${dir}/config.json: ${told} is neither a decoder (…ForCausalLM, …LMHeadModel) nor a known encoder (bert, roberta …)`,
  )
}
