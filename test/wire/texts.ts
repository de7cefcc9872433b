/** Text as the network brings it: any code unit, so also half characters, line ends of every kind and NUL. */
import fc from 'fast-check'

const SHARP = ['\n', '\r', '\r\n', '\u2028', '\u2029', '\u0000', '\ufeff', '\ud83d', '\ude00', '😀', ':', 'data: ', ' ']

export const anyText = (maxLength = 20): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.string({ unit: 'binary', maxLength: 5 }), fc.constantFrom(...SHARP), anyUnit()), { maxLength })
    .map((parts) => parts.join(''))

const anyUnit = (): fc.Arbitrary<string> => fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit))
