/**
 * What `--model` means: a line of text becomes a `ModelSource`, the plain data that a worker thread loads from.
 *
 * The small files of a directory are read here, so that a wrong path, a missing file and a model that does not fit
 * into its memory are each one clear line at the start and not a stack trace out of a worker thread.
 */
import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { readEncoderConfig } from './encoder-config.js'
import { planKv } from './kv-plan.js'
import type { EncoderSource, OnnxSource } from './model.js'
import { readModelConfig } from './model-config.js'
import { readKind } from './model-kind.js'

const REQUIRED_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json']
/** Where exports have their graph, where none is named. */
const GRAPH_FILES = ['onnx/model.onnx', 'model.onnx'] as const

/** Which model, and what it is called. */
export type NamedModel = { type: 'scripted'; name: string } | { type: 'onnx'; name: string; dir: string }

/**
 * `default` (the built-in model), `scripted`, `NAME=DIR`, or `DIR`, which is then named after its last folder.
 * A path may have `=` in it: what comes before the first `=` is a name only where it has no `/`.
 * @param builtinDir the directory of the model that ships with the package
 * @throws Error when the name or the directory is empty
 */
export const parseModel = (text: string, builtinDir: string): NamedModel => {
  if (text === 'scripted') return { type: 'scripted', name: 'scripted' }
  if (text === 'default') return { type: 'onnx', name: 'default', dir: resolve(builtinDir) }
  const [, given, path] = /^([^/\\=]*)=(.*)$/s.exec(text) ?? [text, null, text]
  if (!path) throw new Error(`model ${JSON.stringify(text)}: the directory is empty`)
  const dir = resolve(path)
  const name = given ?? basename(dir)
  if (!name) throw new Error(`model ${JSON.stringify(text)}: the name is empty`)
  return { type: 'onnx', name, dir }
}

/** For each worker thread of a model. */
export type OnnxOptions = Pick<OnnxSource, 'slots' | 'prefillChunk' | 'threads' | 'prefixCacheBytes'> & {
  /** Of keys and values, the prefix cache included: decides slots and context where not all that is asked fits. */
  maxKvBytes: number
  /** The graph, relative to the directory; null: where exports have it. */
  file: string | null
}

/** @throws Error that names the first file that is missing or wrong */
export const planSource = (name: string, dir: string, options: OnnxOptions): OnnxSource | EncoderSource => {
  const file = checkModelDir(dir, options.file)
  if (readKind(dir) === 'decoder') return planDecoder(name, dir, options)
  return { type: 'encoder', name, dir, file, threads: options.threads, ...readEncoderConfig(dir) }
}

/** As `planSource`, for a directory that is known to make text. */
export const planDecoder = (name: string, dir: string, options: OnnxOptions): OnnxSource => {
  const { prefillChunk, threads, slots, maxKvBytes: maxBytes, prefixCacheBytes } = options
  const file = checkModelDir(dir, options.file)
  const { shape, contextTokens, sampling } = readModelConfig(dir)
  const plan = planKv({ shape, contextTokens, slots, maxBytes, prefixCacheBytes })
  const { temperature, topP } = sampling
  return { type: 'onnx', name, dir, file, prefillChunk, threads, sampling: { temperature, topP }, ...plan }
}

/** @returns the graph's file, relative to the directory */
const checkModelDir = (dir: string, file: string | null): string => {
  if (!existsSync(dir)) throw new Error(`model directory ${dir} does not exist`)
  const missing = REQUIRED_FILES.find((file) => !existsSync(join(dir, file)))
  if (missing) throw new Error(`model directory ${dir} has no ${missing}`)
  const candidates = file === null ? GRAPH_FILES : [file]
  const found = candidates.find((file) => existsSync(join(dir, file)))
  if (found) return found
  const graphs = (readdirSync(dir, { recursive: true }) as string[]).filter((file) => file.endsWith('.onnx'))
  const others = graphs.length > 0 ? `; name one of its files with --model-file: ${graphs.sort().join(', ')}` : ''
  throw new Error(`model directory ${dir} has no ${candidates[0]}${others}`)
}
