import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Piece, StopScanner } from '../../src/engine/stop.js'

const textOf = (pieces: Piece[]): string => pieces.map(({ text }) => text).join('')
const idsOf = (pieces: Piece[]): number[] => pieces.flatMap(({ ids }) => ids)

/** Pieces as a model says them: piece k has one or more ids of its own. */
const piecesOf = (texts: string[]): Piece[] =>
  texts.map((text, index) => ({ text, ids: index % 3 === 0 ? [index, index + 0.5] : [index] }))

/** Everything that was sent, push by push, and whether a stop string was met. */
const scan = (stops: string[], pieces: Piece[]): { sent: Piece[][]; stopped: boolean; pushes: number } => {
  const scanner = new StopScanner(stops)
  const sent: Piece[][] = []
  for (const [index, piece] of pieces.entries()) {
    const { pieces, stopped } = scanner.push(piece)
    sent.push(pieces)
    if (stopped) return { sent, stopped, pushes: index + 1 }
  }
  sent.push(scanner.flush())
  return { sent, stopped: false, pushes: pieces.length }
}

/** The same by searching all of the text again after each piece. */
const naive = (stops: string[], pieces: Piece[]): { text: string; stopped: boolean; pushes: number } => {
  let text = ''
  for (const [index, piece] of pieces.entries()) {
    text += piece.text
    const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) return { text: text.slice(0, Math.min(...found)), stopped: true, pushes: index + 1 }
  }
  return { text, stopped: false, pushes: pieces.length }
}

const letters = (min: number, max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom('a', 'b', '😀'), minLength: min, maxLength: max })

test('whatever the borders of the pieces, what is sent is the text before the first stop string', () => {
  const stops = fc.array(letters(1, 4), { minLength: 1, maxLength: 3 })
  const texts = fc.array(letters(1, 3), { maxLength: 12 })
  const property = fc.property(stops, texts, (stops, texts) => {
    const pieces = piecesOf(texts)

    const { sent, stopped, pushes } = scan(stops, pieces)

    const expected = naive(stops, pieces)
    assert.deepEqual({ text: textOf(sent.flat()), stopped, pushes }, expected)
    // The tokens of the stop string were generated, too, and count.
    assert.deepEqual(idsOf(sent.flat()), idsOf(pieces.slice(0, pushes)))
  })

  fc.assert(property, { numRuns: 5000 })
})

test('nothing is held back that cannot become a stop string, up to whole pieces', () => {
  const stops = fc.array(letters(1, 4), { minLength: 1, maxLength: 3 })
  const texts = fc.array(letters(1, 3), { maxLength: 12 })
  const property = fc.property(stops, texts, (stops, texts) => {
    const scanner = new StopScanner(stops)
    let held: Piece[] = []
    for (const piece of piecesOf(texts)) {
      const { pieces, stopped } = scanner.push(piece)
      if (stopped) return
      held = [...held, piece].slice(pieces.length)

      const text = textOf(held)
      const [first] = held
      const possible = Array.from({ length: first?.text.length ?? 0 }, (_, from) => text.slice(from))
      assert.ok(held.length === 0 || possible.some((end) => stops.some((stop) => stop.startsWith(end))))
    }
  })

  fc.assert(property, { numRuns: 2000 })
})

test('a piece is sent whole or not at all, so that its ids always spell its text', () => {
  const scanner = new StopScanner(['STOP'])

  const first = scanner.push({ text: 'one S', ids: [1] })
  const second = scanner.push({ text: 'T', ids: [2] })
  const third = scanner.push({ text: 'ART', ids: [3, 4] })

  assert.deepEqual([first.pieces, second.pieces], [[], []])
  assert.deepEqual(third.pieces, [
    { text: 'one S', ids: [1] },
    { text: 'T', ids: [2] },
    { text: 'ART', ids: [3, 4] },
  ])
})

test('an answer that ends within a stop string keeps that part', () => {
  const scanner = new StopScanner(['STOP'])
  scanner.push({ text: 'ST', ids: [1] })

  assert.deepEqual(scanner.flush(), [{ text: 'ST', ids: [1] }])
  assert.deepEqual(scanner.flush(), [])
})

test('an answer that is a stop string alone sends no text, and its tokens count', () => {
  const { sent, stopped } = scan(['ab'], piecesOf(['a', 'b']))

  assert.equal(stopped, true)
  assert.deepEqual(sent.flat(), [{ text: '', ids: [0, 0.5, 1] }])
})
