/**
 * `/v1/embeddings`: OpenAI's request, checked, and its answer.
 */
import Type from 'typebox'
import { RejoinError } from '../../core/errors.js'
import { checker } from '../checker.js'
import { asked } from './completion-request.js'
import { invalid } from './content.js'

const MAX_TEXTS = 2048

export type EmbeddingsRequest = {
  /** Absent: the first model that makes embeddings. */
  model: string | undefined
  texts: string[]
  /** The stock client asks for that on its own, and decodes it. */
  base64: boolean
}

const check = checker(
  Type.Object(
    {
      model: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
      input: Type.Unknown(),
      encoding_format: Type.Optional(Type.Enum(['float', 'base64'])),
    },
    { additionalProperties: false },
  ),
  { noun: 'an embeddings request' },
)

/** @throws RejoinError `invalid_request`, `unknown_field`, `unsupported_field` */
export function parseEmbeddingsRequest(given: unknown): EmbeddingsRequest {
  const { model, input, encoding_format = 'float' } = check(asked(given, { user: 'label', dimensions: [] }))
  return { model, texts: textsOf(input), base64: encoding_format === 'base64' }
}

function textsOf(input: unknown): string[] {
  if (typeof input === 'string') return [input]
  if (!Array.isArray(input) || input.length === 0 || input.length > MAX_TEXTS) {
    throw invalid('input', `a text or an array of 1 to ${MAX_TEXTS} texts`, input)
  }
  if (typeof input[0] === 'number' || Array.isArray(input[0])) {
    throw new RejoinError('unsupported_field', '`input` of token ids is not supported, send texts', { param: 'input' })
  }
  const wrong = input.findIndex((text) => typeof text !== 'string')
  if (wrong !== -1) throw invalid(`input.${wrong}`, 'a text', input[wrong])
  return input as string[]
}

export type Embedded = { model: string; embeddings: readonly Float32Array[]; tokens: readonly number[] }

/** `embeddings` each as numbers, or as base64 of their little-endian float32. */
export function embeddingsJson({ model, embeddings, tokens }: Embedded, base64: boolean): string {
  const total = tokens.reduce((sum, count) => sum + count, 0)
  return JSON.stringify({
    object: 'list',
    model,
    data: embeddings.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: base64 ? toBase64(vector) : [...vector],
    })),
    usage: { prompt_tokens: total, total_tokens: total },
  })
}

// The machines that this runs on (x64, arm64) are little-endian themselves.
const toBase64 = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')
