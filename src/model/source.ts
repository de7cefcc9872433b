/**
 * What `--model` means: a line of text becomes a `ModelSource`, the plain data that a worker thread loads from.
 *
 * Nothing is read here except by `checkModelDir`, which looks for the files that every model directory needs, so that
 * a wrong path is one clear line at the start and not a stack trace out of a worker thread.
 */
import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import type { ModelSource } from './model.js'

/** The graph that is run; other exports may lie beside it. */
export const MODEL_FILE = 'onnx/model.onnx'

const REQUIRED_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', MODEL_FILE]

export type SourceOptions = {
  /** Slots per worker thread of a scripted model; a slot costs next to nothing. */
  scriptedSlots: number
  /** Slots per worker thread of a real model; a slot has a KV cache. */
  slots: number
  /** The directory of the model that ships with the package. */
  builtinDir: string
}

/**
 * `default` (the built-in model), `scripted`, `NAME=DIR`, or `DIR`, which is then named after its last folder.
 * A path may have `=` in it: what comes before the first `=` is a name only where it has no `/`.
 * @throws Error when the name or the directory is empty
 */
export const parseModelSource = (text: string, options: SourceOptions): ModelSource => {
  const { scriptedSlots, slots, builtinDir } = options
  if (text === 'scripted') return { type: 'scripted', name: 'scripted', slots: scriptedSlots }
  if (text === 'default') return { type: 'onnx', name: 'default', dir: resolve(builtinDir), slots }
  const [, given, path] = /^([^/\\=]*)=(.*)$/s.exec(text) ?? [text, null, text]
  if (!path) throw new Error(`model ${JSON.stringify(text)}: the directory is empty`)
  const dir = resolve(path)
  const name = given ?? basename(dir)
  if (!name) throw new Error(`model ${JSON.stringify(text)}: the name is empty`)
  return { type: 'onnx', name, dir, slots }
}

/** @throws Error that names the first file that is missing */
export const checkModelDir = (dir: string): void => {
  if (!existsSync(dir)) throw new Error(`model directory ${dir} does not exist`)
  const missing = REQUIRED_FILES.find((file) => !existsSync(join(dir, file)))
  if (missing) throw new Error(`model directory ${dir} has no ${missing}`)
}
