/**
 * Values as msgpack: the binary frames of the `rejoin.v1.msgpack` WebSocket.
 *
 * Plain maps with string keys, no extensions, so that any msgpack library reads them.
 */
import { Packr } from 'msgpackr'
import type { Entry } from '../core/entry.js'
import { RejoinError } from '../core/errors.js'

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

export const pack = (value: unknown): Uint8Array => packr.pack(value)

/** @throws RejoinError `invalid_json` when the bytes are not exactly one msgpack value. */
export function unpack(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes)
  } catch {
    throw new RejoinError('invalid_json', 'the frame is not one msgpack value')
  }
}

export const entryMsgpack = (entry: Entry): Uint8Array => {
  entry.msgpack ??= pack(entry.event)
  return entry.msgpack
}
