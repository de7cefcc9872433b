/**
 * What a load test has to know of an event, read from its JSON as bytes: no object is made and no text decoded.
 *
 * That a key is found by its bytes is safe: within a JSON string a quote is escaped, so `"seq":` is always a key; and the
 * gateway's events have these keys at the top only, or after all that is asked for.
 */
const QUOTE = 0x22
const [ZERO, NINE] = [0x30, 0x39]

const KEYS = { seq: Buffer.from('"seq":'), from: Buffer.from('"from":'), tokens: Buffer.from('"tokens":') }
const TYPE = Buffer.from('"type":"')
const STAMP = Buffer.from(',t=')

/** The number of a key; `otherwise` when there is none. */
export function numberOf(json: Buffer, key: keyof typeof KEYS, otherwise: number): number {
  const name = KEYS[key]
  const at = json.indexOf(name)
  return at < 0 ? otherwise : numberAt(json, at + name.length)
}

export function typeOf(json: Buffer): string {
  const at = json.indexOf(TYPE)
  if (at < 0) return ''
  return json.toString('latin1', at + TYPE.length, json.indexOf(QUOTE, at + TYPE.length))
}

export function numberAt(bytes: Buffer, at: number): number {
  let value = 0
  for (let digit = bytes[at] as number; digit >= ZERO && digit <= NINE; digit = bytes[++at] as number) {
    value = value * 10 + digit - ZERO
  }
  return value
}

/** The stamps of a scripted answer's tokens, in µs of CLOCK_MONOTONIC: the first one. 0 when there is none. */
export function firstStamp(json: Buffer): number {
  const at = json.indexOf(STAMP)
  return at < 0 ? 0 : numberAt(json, at + STAMP.length)
}
