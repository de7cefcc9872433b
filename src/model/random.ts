/**
 * Random numbers without a state: each is a function of the seed and of the token's position and of nothing else, so an
 * answer that lost its process goes on as it would have gone, and rows that run side by side cannot disturb each other.
 */

/**
 * A number in [0, 1), 53 bits, that depends on nothing but the seed (both 32-bit halves of it) and the position.
 * Two rounds over the finalizer of MurmurHash3, which moves every bit of the input to every bit of the output.
 */
export const uniform = (seed: number, position: number): number => {
  const a = mix((seed | 0) ^ 0x9e3779b9)
  const b = mix(Math.floor(seed / 2 ** 32) ^ a)
  const c = mix(Math.imul(position, 0x9e3779b1) ^ b)
  const high = mix(c + a)
  const low = mix(high ^ b ^ position)
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53
}

const mix = (value: number): number => {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
