/**
 * What an encoder's small files say: how long a text may be, and how the vectors of its tokens become one.
 *
 * sentence-transformers lists the modules that follow the model in modules.json. Mean and first-token pooling and
 * normalisation are done here; anything else is left to the graph, which may have a finished `sentence_embedding`,
 * and is refused by its name where the graph has none. Without those files the pooling is the mean.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Json, readJson, readOptionalList } from './json-file.js'
import type { EncoderSource, Pooling } from './model.js'
import { numberOf, sizeOf } from './model-config.js'

type EncoderConfig = Pick<EncoderSource, 'contextTokens' | 'pooling' | 'padId'>

/** Their positions are counted from behind the padding id: a table of 514 has room for 512 tokens. */
const SHIFTED: ReadonlySet<unknown> = new Set([
  'camembert',
  'mpnet',
  'roberta',
  'roberta-prelayernorm',
  'xlm-roberta',
  'xlm-roberta-xl',
])

/** @throws Error that names the file, and the field */
export const readEncoderConfig = (dir: string): EncoderConfig => {
  const config = readJson(dir, 'config.json')
  const padId = numberOf(config, ['pad_token_id']) ?? 0
  const positions = sizeOf(dir, config, ['max_position_embeddings', 'n_positions'])
  const contextTokens = SHIFTED.has(config.model_type) ? positions - padId - 1 : positions
  return { contextTokens, padId, pooling: readPooling(dir) }
}

const readPooling = (dir: string): Pooling => {
  let path = '1_Pooling'
  for (const { type, path: folder } of readOptionalList(dir, 'modules.json')) {
    const module = String(type).split('.').at(-1)
    if (module === 'Pooling') path = String(folder)
    else if (module !== 'Transformer' && module !== 'Normalize') {
      return { type: 'graph', because: `${dir}/modules.json: a module ${String(type)} is not supported` }
    }
  }
  const file = join(path, 'config.json')
  return existsSync(join(dir, file)) ? poolingOf(readJson(dir, file), join(dir, file)) : { type: 'mean' }
}

/** New files have one field, old ones a flag for each mode; none is the mean, as in sentence-transformers. */
const poolingOf = (config: Json, path: string): Pooling => {
  const modes =
    config.pooling_mode === undefined
      ? Object.keys(config).filter((field) => field.startsWith('pooling_mode_') && config[field] === true)
      : [config.pooling_mode].flat().map((mode) => `pooling_mode ${mode}`)
  if (modes.length === 0) return { type: 'mean' }
  if (modes.length > 1) return { type: 'graph', because: `${path}: ${modes.join(' with ')} is not supported` }
  switch (modes[0]) {
    case 'pooling_mode_mean_tokens':
    case 'pooling_mode mean':
      return { type: 'mean' }
    case 'pooling_mode_cls_token':
    case 'pooling_mode cls':
      return { type: 'cls' }
    default:
      return { type: 'graph', because: `${path}: ${modes[0]} is not supported` }
  }
}
