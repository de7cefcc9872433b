import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Tokenizer } from '../../src/model/tokenizer.js'
import { MODEL_DIR } from './answer.js'

const byteLevel = Tokenizer.load(MODEL_DIR)

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
const PIECES = [...HEX_BYTES, '▁', '▁the', '▁a', 'b', 'cd', '.', '▁你', 'é', '👍', '</s>']

/** The other common kind: pieces with ▁ for a space, single bytes for what is in no piece, first space stripped. */
const sentencePiece = new Tokenizer(
  {
    added_tokens: [{ id: PIECES.length - 1, content: '</s>', special: true, normalized: false }],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(PIECES.map((piece, id) => [piece, id])),
      merges: [],
      byte_fallback: true,
    },
  },
  {},
)

const pieces = (tokenizer: Tokenizer, ids: number[], said: number[] = []): string[] => {
  const detokenizer = tokenizer.detokenizer(said)
  return ids.map((id) => detokenizer.push(id))
}

const anyText = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme' }),
    fc.string({
      unit: fc.constantFrom(
        '👩‍👩‍👧‍👦',
        '🇩🇪',
        '你',
        '好',
        'é',
        'e\u0301',
        '\n',
        '\r\n',
        ' ',
        '\t',
        'the',
        '\uFEFF',
        '\0',
      ),
    }),
  )
  .filter((text) => !text.includes('\uFFFD'))

test('ids of the reference prompts are those of the reference tokenizer', () => {
  const reference: { prompt: string; ids: number[]; greedy: number[]; text: string }[] = JSON.parse(
    readFileSync(join(MODEL_DIR, 'reference.json'), 'utf8'),
  )

  assert.equal(reference.length, 20)
  for (const { prompt, ids, greedy, text } of reference) {
    assert.deepEqual(byteLevel.encode(`<|user|>${prompt}<|end|><|assistant|>`, { addSpecial: false }), ids)
    assert.equal(byteLevel.decode(greedy), text)
    assert.equal(pieces(byteLevel, greedy).join(''), text)
  }
})

test('any text comes back id by id, and no piece has part of a character', () => {
  const property = fc.property(anyText, (text) => {
    const said = pieces(byteLevel, byteLevel.encode(text, { addSpecial: false }))

    assert.equal(said.join(''), text)
    for (const piece of said) assert.doesNotMatch(piece, /\uFFFD|^[\uDC00-\uDFFF]|[\uD800-\uDBFF]$/)
  })

  fc.assert(property, { numRuns: 500 })
})

test('text that begins in the middle of an answer is the rest of it', () => {
  const property = fc.property(anyText, fc.nat(), (text, at) => {
    const ids = byteLevel.encode(text, { addSpecial: false })
    const cut = at % (ids.length + 1)

    const before = pieces(byteLevel, ids.slice(0, cut)).join('')
    const after = pieces(byteLevel, ids.slice(cut), ids.slice(0, cut)).join('')

    assert.equal(before + after, text)
  })

  fc.assert(property, { numRuns: 500 })
})

for (const [name, tokenizer, size] of [
  ['byte-level', byteLevel, 2060],
  ['sentence-piece', sentencePiece, PIECES.length],
] as const) {
  test(`whatever ids a ${name} model says, at most one character is held back`, () => {
    // Bytes are ids 4 to 259 in one vocabulary and 0 to 255 in the other; ids beyond the vocabulary mean nothing.
    const anyId = fc.oneof(fc.nat(260), fc.nat(size))
    const property = fc.property(fc.array(anyId, { maxLength: 60 }), fc.nat(60), (ids, cut) => {
      const said = pieces(tokenizer, ids)

      for (let n = 1; n <= ids.length; n++) {
        const whole = tokenizer.decode(ids.slice(0, n))
        const shown = said.slice(0, n).join('')
        assert.equal(shown, whole.endsWith('\uFFFD') ? whole.slice(0, -1) : whole)
      }
      const resumed = pieces(tokenizer, ids.slice(cut), ids.slice(0, cut))
      assert.equal(resumed.join(''), said.slice(cut).join(''))
    })

    fc.assert(property, { numRuns: 500 })
  })
}

test('a character in four tokens comes whole with the last of them', () => {
  const ids = byteLevel.encode('👍', { addSpecial: false })

  assert.deepEqual(pieces(byteLevel, ids), ['', '', '', '👍'])
})

test('special tokens and ids without meaning say nothing', () => {
  const [hello] = byteLevel.encode('Hello', { addSpecial: false })

  assert.deepEqual(pieces(byteLevel, [0, hello as number, 1, 5000]), ['', 'Hello', '', ''])
  assert.equal(byteLevel.decode([0, 3]), '')
  assert.equal(byteLevel.decode([]), '')
})

test('the least number of tokens is never more than the number of tokens', () => {
  const property = fc.property(anyText, (text) => {
    assert.ok(byteLevel.minTokens(text) <= byteLevel.encode(text, { addSpecial: false }).length)
  })

  fc.assert(property)
  assert.equal(byteLevel.minTokens('<|assistant|>'.repeat(100)), 100)
})

test('a token by itself has its bytes: a space of a piece, a byte that is in no piece, a part of a character', () => {
  const half = byteLevel.encode('👍', { addSpecial: false })[0] as number

  assert.deepEqual(sentencePiece.token(PIECES.indexOf('▁the')), { token: ' the', bytes: [32, 116, 104, 101] })
  assert.deepEqual(sentencePiece.token(0xf0), { token: '\uFFFD', bytes: [0xf0] })
  assert.deepEqual(byteLevel.token(half).bytes, [0xf0])
})

test('a text that is made shorter before it is cut into tokens is not taken for too long by its length', () => {
  const collapsing = new Tokenizer(
    {
      added_tokens: [],
      normalizer: { type: 'Replace', pattern: { Regex: ' +' }, content: ' ' },
      pre_tokenizer: null,
      post_processor: null,
      decoder: null,
      model: { type: 'BPE', vocab: { a: 0, ' ': 1 }, merges: [] },
    },
    {},
  )
  const text = `a${' '.repeat(9000)}a`

  assert.deepEqual(collapsing.encode(text, { addSpecial: false }), [0, 1, 0])
  assert.equal(collapsing.minTokens(text), 0)
})
