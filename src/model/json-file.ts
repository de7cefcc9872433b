/**
 * Reading the JSON files of a model directory: somebody else's data, so every value is unknown until looked at.
 *
 * A missing optional file is an empty object; anything else that is wrong throws one line that names the file.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export type Json = Record<string, unknown>

/** @throws Error when the file is missing, is not JSON, or holds no object */
export const readJson = (dir: string, file: string): Json => {
  const value = readValue(dir, file)
  if (isJson(value)) return value
  throw new Error(`${join(dir, file)}: not a JSON object`)
}

/** `[]` where there is no such file. @throws Error when it holds anything else than a list of objects */
export const readOptionalList = (dir: string, file: string): Json[] => {
  const value = existsSync(join(dir, file)) ? readValue(dir, file) : []
  if (Array.isArray(value) && value.every(isJson)) return value
  throw new Error(`${join(dir, file)}: not a list of JSON objects`)
}

const readValue = (dir: string, file: string): unknown => {
  const path = join(dir, file)
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`)
  }
}

/** `{}` where there is no such file. */
export const readOptionalJson = (dir: string, file: string): Json =>
  existsSync(join(dir, file)) ? readJson(dir, file) : {}

export const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A token in tokenizer_config.json is its text, or an object with its text. */
export const tokenText = (token: unknown): string | null => {
  if (typeof token === 'string') return token
  return isJson(token) && typeof token.content === 'string' ? token.content : null
}
