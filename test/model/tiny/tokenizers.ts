/**
 * The tokenizer files of a tiny model: byte-level BPE for decoders, WordPiece for encoders.
 *
 * The BPE has a token for each byte, so any text comes back from its ids; its merges are English enough that a word is
 * often fewer tokens than letters. Each family has the special tokens and the chat template of its kind.
 */
import type { Json } from '../../../src/model/json-file.js'

export type DecoderFamily = 'llama' | 'qwen2' | 'gpt2'

/** The vocabulary of every decoder, special tokens included. */
export const DECODER_VOCAB = 320

type Family = {
  specials: readonly string[]
  /** What the tokenizer puts before a text, as far as it does. */
  bos: string | null
  /** What tokenizer_config.json names. */
  bosToken: string | null
  eosToken: string
  padToken: string | null
  /** All that end an answer; the first is `eosToken`. */
  ends: readonly string[]
  template: string
}

export const FAMILIES: Record<DecoderFamily, Family> = {
  llama: {
    specials: ['<|begin_of_text|>', '<|end_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'],
    bos: '<|begin_of_text|>',
    bosToken: '<|begin_of_text|>',
    eosToken: '<|eot_id|>',
    padToken: null,
    ends: ['<|eot_id|>', '<|end_of_text|>'],
    template:
      "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  },
  qwen2: {
    specials: ['<|endoftext|>', '<|im_start|>', '<|im_end|>'],
    bos: null,
    bosToken: null,
    eosToken: '<|im_end|>',
    padToken: '<|endoftext|>',
    ends: ['<|im_end|>', '<|endoftext|>'],
    template:
      "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  },
  gpt2: {
    specials: ['<|endoftext|>'],
    bos: null,
    bosToken: '<|endoftext|>',
    eosToken: '<|endoftext|>',
    padToken: null,
    ends: ['<|endoftext|>'],
    template: "{% for message in messages %}{{ message.content + '\\n' }}{% endfor %}",
  },
}

/** Special tokens have the last ids. */
export const idOf = (family: DecoderFamily, special: string): number => {
  const { specials } = FAMILIES[family]
  return DECODER_VOCAB - specials.length + specials.indexOf(special)
}

// Each may use what the ones before it made. Enough that bytes, merges and one special token are DECODER_VOCAB.
const MERGES = [
  'Ġ t,h e,Ġ a,i n,r e,Ġt he,o n,e r,Ġ s,Ġ w,a t,n d,Ġ o,e n,Ġ c,o u,i s,i t,o r,e s,Ġ b,Ġ f,a n,e d,in g,Ġ p,Ġo f,Ġa nd',
  'Ġt o,a l,a r,Ġ m,Ġ d,Ġ h,l e,Ġ in,Ġ l,a s,Ġ n,Ġb e,l l,ll o,he llo,l d,Ġw or,Ġwor ld,v e,Ġ g,s t,Ġ re,Ġ I,Ġ y,Ġy ou,h at,Ġt hat,o m',
  'r o,i c,u t,o t,Ġ e,c h,s e',
].flatMap((line) => line.split(','))

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }

/** @returns tokenizer.json and tokenizer_config.json, the latter without a chat template */
export const byteLevelBpe = (family: DecoderFamily, contextTokens: number): [Json, Json] => {
  const { specials, bos, bosToken, eosToken, padToken } = FAMILIES[family]
  const merges = MERGES.slice(0, DECODER_VOCAB - 256 - specials.length)
  const tokens = [...byteAlphabet(), ...merges.map((merge) => merge.replace(' ', ''))]
  const added = specials.map((content) => addedToken(idOf(family, content), content))
  const definition = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: BYTE_LEVEL,
    post_processor: bos === null ? null : template([bos, 'A'], { [bos]: idOf(family, bos) }),
    decoder: BYTE_LEVEL,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  }
  const config = {
    tokenizer_class: { llama: 'PreTrainedTokenizerFast', qwen2: 'Qwen2Tokenizer', gpt2: 'GPT2Tokenizer' }[family],
    model_max_length: contextTokens,
    clean_up_tokenization_spaces: false,
    bos_token: bosToken,
    eos_token: eosToken,
    pad_token: padToken,
    unk_token: null,
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
  }
  return [definition, config]
}

const WORDPIECE_SPECIALS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz0123456789']
const WORDS =
  'the of and to in is you that it he was for on are as with his they at be this have from or one had by word'
const ENDINGS = 'ing ed er es ly al ion s able ment ness ful less ous ive'

const WORDPIECE = [
  ...WORDPIECE_SPECIALS,
  ...'!"#$%&\'()*+,-./:;<=>?@[]^_`{|}~',
  ...LETTERS,
  ...WORDS.split(' '),
  ...LETTERS.map((letter) => `##${letter}`),
  // `s` is a letter already.
  ...ENDINGS.split(' ')
    .filter((ending) => ending.length > 1)
    .map((ending) => `##${ending}`),
]

export const ENCODER_VOCAB = WORDPIECE.length

/** Lower case ASCII; anything else is [UNK]. */
export const wordPiece = (contextTokens: number): [Json, Json] => {
  const added = WORDPIECE_SPECIALS.map((content, id) => addedToken(id, content))
  const definition = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: template(['[CLS]', 'A', '[SEP]'], { '[CLS]': 2, '[SEP]': 3 }),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(WORDPIECE.map((token, id) => [token, id])),
    },
  }
  const config = {
    tokenizer_class: 'BertTokenizer',
    model_max_length: contextTokens,
    do_lower_case: true,
    clean_up_tokenization_spaces: true,
    cls_token: '[CLS]',
    sep_token: '[SEP]',
    pad_token: '[PAD]',
    unk_token: '[UNK]',
    mask_token: '[MASK]',
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
  }
  return [definition, config]
}

const addedToken = (id: number, content: string) => ({
  id,
  content,
  normalized: false,
  lstrip: false,
  rstrip: false,
  single_word: false,
  special: true,
})

/** What is put around a text, `A`; for a pair the second follows, with the same end. */
const template = (single: readonly string[], specials: Record<string, number>): Json => {
  const piece = (id: string, type_id: number) =>
    id.length === 1 ? { Sequence: { id, type_id } } : { SpecialToken: { id, type_id } }
  const second = single.map((id) => (id === 'A' ? 'B' : id)).filter((id) => id !== '[CLS]')
  return {
    type: 'TemplateProcessing',
    single: single.map((id) => piece(id, 0)),
    pair: [...single.map((id) => piece(id, 0)), ...second.map((id) => piece(id, 1))],
    special_tokens: Object.fromEntries(
      Object.entries(specials).map(([id, number]) => [id, { id, ids: [number], tokens: [id] }]),
    ),
  }
}

/** GPT-2's characters for the 256 bytes: printable ones stand for themselves. */
const byteAlphabet = (): string[] => {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  const bytes = Array.from({ length: 256 }, (_, byte) => byte)
  return [
    ...bytes.filter(printable).map((byte) => String.fromCharCode(byte)),
    ...bytes.filter((byte) => !printable(byte)).map((_, i) => String.fromCharCode(256 + i)),
  ]
}
