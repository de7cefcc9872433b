import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { tokenBytes, wholeCharacters } from '../../src/model/token-bytes.js'

const BYTE_LEVEL = { decoder: { type: 'ByteLevel' } }
const NONE = new Map<number, string>()

const text = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)

/** A decoder that waits for the rest of a last character gives the text of what is whole, and nothing of the rest. */
const check = (bytes: Uint8Array): void => {
  const end = wholeCharacters(bytes)
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  assert.equal(text(bytes.subarray(0, end)), decoder.decode(bytes, { stream: true }), `${bytes}`)
  assert.equal(decoder.decode(), end < bytes.length ? '\uFFFD' : '', `${bytes}`)
}

// Each edge of the table of RFC 3629: plain, continuation, never allowed, leads of 2, 3 and 4 bytes.
const EDGES = [
  ...[0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf],
  ...[0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff],
]

test('the beginning of a character is held back exactly where a streaming decoder waits for more', () => {
  check(new Uint8Array(0))
  for (const a of EDGES) {
    check(Uint8Array.of(a))
    for (const b of EDGES) {
      check(Uint8Array.of(a, b))
      for (const c of EDGES) check(Uint8Array.of(a, b, c))
    }
  }

  const edge = fc.constantFrom(...EDGES)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 8 }), fc.array(edge, { maxLength: 8 }), (any, edges) => {
      check(Uint8Array.of(...any, ...edges))
    }),
    { numRuns: 5000 },
  )
})

test('a text that is cut anywhere is held back from the character that was cut', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(), (text, at) => {
      const bytes = Buffer.from(text)
      const cut = at % (bytes.length + 1)
      let start = cut
      while (start < bytes.length && start > 0 && ((bytes[start] as number) & 0xc0) === 0x80) start--

      assert.equal(wholeCharacters(bytes.subarray(0, cut)), start)
    }),
    { numRuns: 300 },
  )
})

test('what is held back is at most three bytes, and none that cannot become a character', () => {
  assert.equal(wholeCharacters(Uint8Array.of(0x41, 0xf0, 0x9f, 0x91)), 1)
  assert.equal(wholeCharacters(Uint8Array.of(0x41, 0xf0, 0x9f, 0x91, 0x8d)), 5)
  // A form longer than needed, half of a surrogate pair, beyond U+10FFFF, and bytes that never occur.
  for (const bytes of [[0xe0, 0x80], [0xed, 0xa0], [0xf4, 0x90], [0xf0, 0x80], [0xc0], [0xf5], [0xff]]) {
    assert.equal(wholeCharacters(Uint8Array.from(bytes)), bytes.length)
  }
})

test('every byte is one printable character', () => {
  const tokens = ['!', '~', '¡', '¬', '®', 'ÿ', 'Ā', 'Ċ', 'Ġ', 'ġ', 'Ģ', 'ł', 'Ń']

  const bytes = tokenBytes(BYTE_LEVEL, new Map(tokens.map((token, id) => [token, id])), NONE)

  assert.deepEqual(
    bytes?.map((own) => [...(own ?? [])]),
    [[0x21], [0x7e], [0xa1], [0xac], [0xae], [0xff], [0x00], [0x0a], [0x20], [0x7f], [0x80], [0xa0], [0xad]],
  )
})

test('the 256 characters are all there is, and no two are the same byte', () => {
  const characters = Array.from({ length: 0x144 }, (_, code) => String.fromCharCode(code))
  const bytes = tokenBytes(BYTE_LEVEL, new Map(characters.map((character, id) => [character, id])), NONE)

  // A character that stands for itself has its own UTF-8, which is one byte in ASCII alone.
  const single = (bytes ?? []).flatMap((own, id) => (own?.length === 1 && id > 0x20 && id !== 0x7f ? [own[0]] : []))

  assert.equal(single.length, 256)
  assert.equal(new Set(single).size, 256)
})

test('a token has the bytes of all its characters, an added token its own text', () => {
  const vocabulary = new Map([
    ['Ġthe', 0],
    ['ðŁĳ', 1],
    ['į', 2],
  ])
  const added = new Map([
    [3, '<|end|>'],
    [5, '<｜é｜>'],
  ])

  const bytes = tokenBytes(BYTE_LEVEL, vocabulary, added)

  assert.equal(bytes?.length, 6)
  assert.equal(text(bytes?.[0] as Uint8Array), ' the')
  assert.deepEqual([...(bytes?.[1] ?? [])], [0xf0, 0x9f, 0x91])
  assert.deepEqual([...(bytes?.[2] ?? [])], [0x8d])
  assert.equal(text(bytes?.[3] as Uint8Array), '<|end|>')
  assert.equal(bytes?.[4], undefined)
  assert.equal(text(bytes?.[5] as Uint8Array), '<｜é｜>')
})

test('a token with a character that stands for no byte stands for itself', () => {
  const vocabulary = new Map([
    ['<｜begin▁of▁sentence｜>', 0],
    ['a b', 1],
    ['Ġ你', 2],
    ['👍', 3],
  ])

  const bytes = tokenBytes(BYTE_LEVEL, vocabulary, NONE)

  assert.deepEqual(
    bytes?.map((own) => text(own as Uint8Array)),
    ['<｜begin▁of▁sentence｜>', 'a b', 'Ġ你', '👍'],
  )
})

test('a tokenizer that is not of the byte-level kind has no bytes', () => {
  const byteLevel = { type: 'ByteLevel' }
  const bytesOf = (decoder: unknown) => tokenBytes({ decoder }, new Map([['a', 0]]), NONE)

  for (const decoder of [
    undefined,
    null,
    'ByteLevel',
    { type: 'Metaspace' },
    { type: 'WordPiece' },
    { type: 'Sequence', decoders: [] },
    { type: 'Sequence', decoders: [{ type: 'Replace' }, { type: 'ByteFallback' }, { type: 'Fuse' }] },
    { type: 'Sequence', decoders: [byteLevel, { type: 'Strip' }] },
    { type: 'Sequence' },
  ]) {
    assert.equal(bytesOf(decoder), null)
  }
  assert.deepEqual(bytesOf(byteLevel), [Uint8Array.of(0x61)])
  assert.deepEqual(bytesOf({ type: 'Sequence', decoders: [byteLevel] }), [Uint8Array.of(0x61)])
})

test('an id that no token has is a hole, and no error', () => {
  const vocabulary = new Map<string | undefined, number>([
    ['a', 0],
    [undefined, 1],
    ['b', 2],
  ])

  const bytes = tokenBytes({ decoder: { type: 'ByteLevel' } }, vocabulary, new Map())

  assert.deepEqual([bytes?.[0]?.[0], bytes?.[1], bytes?.[2]?.[0]], [97, undefined, 98])
})
