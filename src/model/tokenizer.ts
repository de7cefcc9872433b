/**
 * Text to token ids and back, for any Hugging Face `tokenizer.json`; whole characters only.
 *
 * Byte-level BPE cuts a character into several tokens: its bytes are kept until they are a character. Other tokenizers
 * decode a token by what stands before it: there a short window of the newest ids is decoded again for each token, and
 * what its text has more than before is given, less a last U+FFFD, which may be a character that the next token
 * completes. No more than one character is ever held back, so bytes that are no character at all cannot hold up a
 * stream. A character that the answer never completed is not shown.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { RejoinError } from '../core/errors.js'
import { isJson, type Json, readJson, tokenText } from './json-file.js'
import { type TokenBytes, tokenBytes, wholeCharacters } from './token-bytes.js'

// A character has at most 4 bytes and thus tokens; the ids before them are the context that a decoder looks at.
const WINDOW_MIN = 6
const WINDOW_MAX = 12
// The library's clean-up would take back spaces that were streamed already.
const DECODING = { clean_up_tokenization_spaces: false }
const NO_BYTES = new Uint8Array(0)
const REPLACEMENT = '\uFFFD'

export class Tokenizer {
  /** The texts that `encode` turns into special ids, such as `<|end|>`. */
  readonly specialTokens: readonly string[]
  /** The id of tokenizer_config.json's `eos_token`, or none. */
  readonly eosIds: ReadonlySet<number>
  readonly #tokenizer: HuggingFaceTokenizer
  readonly #silent = new Set<number>()
  readonly #longestToken: number
  /** Text may become shorter before it is cut into tokens. */
  readonly #normalizes: boolean
  readonly #bytes: TokenBytes | null

  /**
   * @param definition the content of tokenizer.json
   * @param config the content of tokenizer_config.json
   */
  constructor(definition: Json, config: Json) {
    this.#tokenizer = new HuggingFaceTokenizer(definition, config)
    const added = [...this.#tokenizer.get_added_tokens_decoder().values()]
    const specials = added.filter((token) => token.special)
    for (const { id } of specials) this.#silent.add(id)
    this.specialTokens = specials.map((token) => token.content)
    const eos = this.#tokenizer.token_to_id(tokenText(config.eos_token) ?? '')
    this.eosIds = new Set(eos === undefined ? [] : [eos])
    let longest = 1
    const vocabulary = this.#tokenizer.get_vocab(false)
    this.#bytes = tokenBytes(definition, vocabulary, new Map(added.map(({ id, content }) => [id, content])))
    for (const token of this.#tokenizer.get_vocab().keys()) longest = Math.max(longest, token?.length ?? 0)
    this.#longestToken = longest
    this.#normalizes = shortens(definition)
  }

  /** @throws Error when a file is missing or not understood */
  static load(dir: string): Tokenizer {
    return new Tokenizer(readJson(dir, 'tokenizer.json'), readJson(dir, 'tokenizer_config.json'))
  }

  /**
   * Special tokens in the text become their ids.
   * @param addSpecial whether the tokenizer adds its own (a BOS): yes for raw text, no where a template wrote them
   * @throws RejoinError `invalid_prompt` for text that the vocabulary cannot express
   */
  encode(text: string, { addSpecial }: { addSpecial: boolean }): number[] {
    const { ids } = this.#tokenizer.encode(text, { add_special_tokens: addSpecial })
    if (ids.every(Number.isInteger)) return ids
    throw new RejoinError('invalid_prompt', 'the prompt has characters that the model’s vocabulary has not')
  }

  /**
   * At least so many tokens `encode` will give, at no cost: no token stands for more text than the longest one has,
   * unless the text is made shorter first; then this says 0.
   * Encoding a megabyte takes a second, in which every stream of the thread would stand still.
   */
  minTokens(text: string): number {
    return this.#normalizes ? 0 : Math.ceil(text.length / this.#longestToken)
  }

  /** The text of ids, special tokens left out; incomplete characters become U+FFFD. '' for none. */
  decode(ids: readonly number[]): string {
    const spoken = ids.filter((id) => this.isSpoken(id))
    // The library throws on an empty list.
    return spoken.length > 0 ? this.#tokenizer.decode(spoken, DECODING) : ''
  }

  /** @param said ids whose text was given before, by an attempt that was lost */
  detokenizer(said: readonly number[] = []): Detokenizer {
    return this.#bytes ? new ByteDetokenizer(this, this.#bytes, said) : new WindowDetokenizer(this, said)
  }

  /** A token by itself: its text, as far as it is one, and its bytes. */
  token(id: number): { token: string; bytes: number[] } {
    const bytes = this.#bytes?.[id] ?? pieceBytes(this.#tokenizer.id_to_token(id) ?? '')
    return { token: new TextDecoder().decode(bytes), bytes: [...bytes] }
  }

  /** False for special tokens and for ids of a padded vocabulary that mean nothing. */
  isSpoken(id: number): boolean {
    return !this.#silent.has(id) && this.#tokenizer.id_to_token(id) !== undefined
  }
}

/** By a normalizer, such as one that collapses spaces, by tokens that take the spaces beside them, or by one unknown token for all. */
const shortens = ({ normalizer, added_tokens: added, model }: Json): boolean => {
  const strips =
    Array.isArray(added) && added.filter(isJson).some(({ lstrip, rstrip }) => lstrip === true || rstrip === true)
  const fuses = isJson(model) && model.fuse_unk === true
  return isJson(normalizer) || strips || fuses
}

/** A piece of SentencePiece writes a space as U+2581, and a byte that is in no piece as `<0xNN>`. */
const pieceBytes = (piece: string): Uint8Array => {
  const [, byte] = /^<0x([0-9A-F]{2})>$/.exec(piece) ?? []
  return byte === undefined
    ? new TextEncoder().encode(piece.replaceAll('▁', ' '))
    : Uint8Array.of(Number.parseInt(byte, 16))
}

/** Turns the ids of one answer, one at a time, into text. */
export interface Detokenizer {
  /** The characters that this token completed, '' while it did not complete one. */
  push(id: number): string
}

/** For a tokenizer whose tokens are bytes: a look-up, and the bytes of an unfinished character are kept. */
class ByteDetokenizer implements Detokenizer {
  readonly #tokenizer: Tokenizer
  readonly #bytes: TokenBytes
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  /** The bytes of a character that is not complete yet. */
  #begun: Uint8Array = NO_BYTES
  /** A last U+FFFD that was not given yet. */
  #held = ''

  constructor(tokenizer: Tokenizer, bytes: TokenBytes, said: readonly number[]) {
    this.#tokenizer = tokenizer
    this.#bytes = bytes
    for (const id of said.slice(-WINDOW_MIN)) this.push(id)
  }

  push(id: number): string {
    const bytes = this.#bytes[id]
    if (!bytes || !this.#tokenizer.isSpoken(id)) return ''
    const all = this.#begun.length > 0 ? Uint8Array.of(...this.#begun, ...bytes) : bytes
    const end = wholeCharacters(all)
    const text = this.#held + this.#decoder.decode(all.subarray(0, end))
    this.#begun = all.subarray(end)
    const whole = this.#begun.length > 0 ? text.length : wholeLength(text)
    this.#held = text.slice(whole)
    return text.slice(0, whole)
  }
}

/** For any other: costs one decode of at most WINDOW_MAX ids a token. */
class WindowDetokenizer implements Detokenizer {
  readonly #tokenizer: Tokenizer
  #window: number[]
  /** How much of the window's text was given, in UTF-16 units. */
  #given: number

  constructor(tokenizer: Tokenizer, said: readonly number[]) {
    this.#tokenizer = tokenizer
    this.#window = said.filter((id) => tokenizer.isSpoken(id)).slice(-WINDOW_MIN)
    this.#given = wholeLength(tokenizer.decode(this.#window))
  }

  push(id: number): string {
    if (!this.#tokenizer.isSpoken(id)) return ''
    if (this.#window.length === WINDOW_MAX) this.#slide()
    this.#window.push(id)
    const text = this.#tokenizer.decode(this.#window)
    const whole = wholeLength(text)
    const piece = text.slice(this.#given, whole)
    this.#given = Math.max(this.#given, whole)
    return piece
  }

  #slide(): void {
    this.#window = this.#window.slice(-WINDOW_MIN)
    this.#given = wholeLength(this.#tokenizer.decode(this.#window))
  }
}

/** Length without a last character that more bytes could still change. */
const wholeLength = (text: string): number => (text.endsWith(REPLACEMENT) ? text.length - 1 : text.length)
