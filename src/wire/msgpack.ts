/**
 * Values as msgpack: the binary frames of the `rejoin.v1.msgpack` WebSocket, and what is kept on disk.
 *
 * Plain maps with string keys, no extensions, so that any msgpack library reads them.
 */
import { Packr } from 'msgpackr'
import type { Entry } from '../core/entry.js'
import { RejoinError } from '../core/errors.js'

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

export const pack = (value: unknown): Uint8Array => packr.pack(value)

/** What `pack` made: nothing is checked. Bytes in it are views of `bytes`. */
export const unpackOwn = (bytes: Uint8Array): unknown => packr.unpack(bytes)

/** @throws RejoinError `invalid_json` when the bytes are not exactly one msgpack value, or a string is not UTF-8 */
export function unpack(bytes: Uint8Array): unknown {
  let value: unknown
  try {
    value = packr.unpack(bytes)
  } catch {
    throw new RejoinError('invalid_json', 'the frame is not one msgpack value')
  }
  // The reader puts U+FFFD where bytes are not UTF-8; sent on purpose, it is these three bytes.
  if (hasReplacement(value) && !Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(REPLACEMENT)) {
    throw new RejoinError('invalid_json', 'a string of the frame is not valid UTF-8')
  }
  return value
}

const REPLACEMENT = '\uFFFD'

/** Walks without recursion: the value may be nested as deep as the frame is long. */
function hasReplacement(value: unknown): boolean {
  const open = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next === 'string' && next.includes(REPLACEMENT)) return true
    if (typeof next !== 'object' || next === null) continue
    for (const [key, inner] of Object.entries(next)) open.push(key, inner)
  }
  return false
}

export const entryMsgpack = (entry: Entry): Uint8Array => {
  entry.msgpack ??= pack(entry.event)
  return entry.msgpack
}
