/**
 * The bytes that each token id stands for, where a tokenizer has such: byte-level BPE (GPT-2, llama 3, qwen, …).
 *
 * Such a vocabulary writes every byte as one printable character, so a token's bytes are known without the tokens
 * around it, and an answer can be decoded by looking them up. Other tokenizers decode a token by what stands before
 * it; for them this is null.
 */
import { isJson, type Json } from './json-file.js'

const encoder = new TextEncoder()

/** Indexed by id; undefined where the vocabulary has no such id. */
export type TokenBytes = readonly (Uint8Array | undefined)[]

/**
 * @param definition the content of tokenizer.json
 * @param vocabulary every token's text by its id, without added tokens
 * @param added texts of added tokens by id: they stand for themselves
 */
export const tokenBytes = (
  definition: Json,
  vocabulary: ReadonlyMap<string | undefined, number>,
  added: ReadonlyMap<number, string>,
): TokenBytes | null => {
  if (!isByteLevel(definition.decoder)) return null
  const bytes: (Uint8Array | undefined)[] = []
  // A text that does not stand for bytes stands for itself, as in Hugging Face's decoder.
  // An id that no token has comes as undefined.
  for (const [token, id] of vocabulary) if (token !== undefined) bytes[id] = bytesOf(token) ?? encoder.encode(token)
  for (const [id, content] of added) bytes[id] = encoder.encode(content)
  return bytes
}

/** Where the last character begins, if more bytes could complete it; else the length. Source: RFC 3629 section 4. */
export const wholeCharacters = (bytes: Uint8Array): number => {
  for (let from = bytes.length - 1; from >= Math.max(0, bytes.length - 3); from--) {
    const lead = bytes[from] as number
    if (lead < 0x80) break
    if (lead >= 0xc2) return isBegun(bytes.subarray(from)) ? from : bytes.length
  }
  return bytes.length
}

/** The bytes begin a character and do not end it. */
const isBegun = (bytes: Uint8Array): boolean => {
  const [lead = 0, second, third] = bytes
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
  if (bytes.length >= length) return false
  if (second === undefined) return true
  // No longer form than needed, no half of a surrogate pair, nothing over U+10FFFF.
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (second < least || second > most) return false
  return third === undefined || (third >= 0x80 && third <= 0xbf)
}

const isByteLevel = (decoder: unknown): boolean => {
  if (!isJson(decoder)) return false
  if (decoder.type !== 'Sequence') return decoder.type === 'ByteLevel'
  return Array.isArray(decoder.decoders) && decoder.decoders.length === 1 && isByteLevel(decoder.decoders[0])
}

/** Null for a text with a character that stands for no byte. */
const bytesOf = (token: string): Uint8Array | null => {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF.get(token.charCodeAt(i))
    if (byte === undefined) return null
    bytes[i] = byte
  }
  return bytes
}

/**
 * From the character's code to the byte. Printable bytes of Latin-1 stand for themselves, the others, in order, for the
 * characters from U+0100 on. Source: `bytes_to_unicode` of the GPT-2 encoder.
 */
const BYTE_OF: ReadonlyMap<number, number> = (() => {
  const codes = new Map<number, number>()
  let shifted = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
    codes.set(printable ? byte : shifted++, byte)
  }
  return codes
})()
