/**
 * One file of the journal: records one after another, each with its length and checksum.
 *
 * Only the newest file is written, and only behind its last whole record. What a crash left of a record that was being
 * written is no record: it is cut off when the file is read. A damaged record anywhere else is not guessed away.
 */
import {
  close,
  closeSync,
  fdatasync,
  fsync,
  fsyncSync,
  ftruncate,
  ftruncateSync,
  open,
  openSync,
  readFileSync,
  write,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'

const MAGIC = Buffer.from('RejoinJ1')
/** Length of the payload and its CRC-32, both 32 bits, little-endian. */
export const FRAME_BYTES = 8

const PROBE = Buffer.alloc(65_536)

export const segmentName = (number: number): string => `${String(number).padStart(10, '0')}.journal`

/** Null for a file that is not a segment. */
export function segmentNumber(name: string): number | null {
  const found = /^(\d{10})\.journal$/.exec(name)
  return found ? Number(found[1]) : null
}

/** Fills in the frame at the start of `record`, of which the payload is the rest. */
export function frame(record: Buffer): void {
  record.writeUInt32LE(record.length - FRAME_BYTES, 0)
  record.writeUInt32LE(crc32(record.subarray(FRAME_BYTES)), 4)
}

// Not `fs/promises`, which costs twice as much per write.
const files = {
  open: promisify(open),
  write: promisify(write),
  sync: promisify(fsync),
  datasync: promisify(fdatasync),
  truncate: promisify(ftruncate),
  close: promisify(close),
}

export class Segment {
  readonly number: number
  readonly #fd: number
  #size = 0

  private constructor(number: number, fd: number) {
    this.number = number
    this.#fd = fd
  }

  /** A new file in `dir`, in the place of one of that number; it must not hold anything that is needed. */
  static async create(dir: string, number: number): Promise<Segment> {
    const fd = await files.open(join(dir, segmentName(number)), 'w')
    try {
      const segment = new Segment(number, fd)
      await segment.append(MAGIC, false)
      return segment
    } catch (error) {
      await files.close(fd)
      throw error
    }
  }

  /** Bytes that are whole records. */
  get size(): number {
    return this.#size
  }

  /** All of `bytes`, with `sync` to the disk itself; or else they do not count and must be written again. (After a sync
   * that failed, that is the only way to know: the kernel may have forgotten that they are not on the disk.) */
  async append(bytes: Uint8Array, sync: boolean): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await files.write(this.#fd, bytes, done, bytes.length - done, this.#size + done)
      done += bytesWritten
    }
    if (sync) await this.sync()
    this.#size += bytes.length
  }

  /** As `append`, without a sync, by this thread: what takes the kernel some 10 µs costs several times as much elsewhere.
   * What it has written when it throws does not count. */
  appendNow(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#size + done)
    }
    this.#size += bytes.length
  }

  /** Whether there is room again: writes zeros behind the last record, where the next one will overwrite them.
   * @throws as `append` does */
  async probe(): Promise<void> {
    await files.write(this.#fd, PROBE, 0, PROBE.length, this.#size)
  }

  /** What was appended would survive a loss of power. */
  sync(): Promise<void> {
    return files.datasync(this.#fd)
  }

  /** Nothing comes after what is here, which would survive a loss of power: a write that failed may have left something. */
  async finish(): Promise<void> {
    await files.truncate(this.#fd, this.#size)
    await files.sync(this.#fd)
  }

  close(): Promise<void> {
    return files.close(this.#fd)
  }
}

/** Makes the names of new files in `dir` survive a loss of power. */
export async function syncDir(dir: string): Promise<void> {
  const fd = await files.open(dir, 'r')
  try {
    await files.sync(fd)
  } finally {
    await files.close(fd)
  }
}

/** The whole records of a segment file. What follows them in the newest file is cut off for good.
 * @throws when something follows them in another file, or the file is of another kind */
export function readSegment(path: string, newest: boolean): Buffer[] {
  const bytes = readFileSync(path)
  if (newest && bytes.length < MAGIC.length) return []
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error(`${path} is not a journal of this version`)
  const records: Buffer[] = []
  let at = MAGIC.length
  for (let end = recordEnd(bytes, at); end !== null; end = recordEnd(bytes, at)) {
    records.push(bytes.subarray(at + FRAME_BYTES, end))
    at = end
  }
  if (at === bytes.length) return records
  if (!newest) throw new Error(`${path} is damaged at byte ${at} of ${bytes.length}`)
  truncate(path, at)
  return records
}

/** Null when there is no whole record at `at`. */
function recordEnd(bytes: Buffer, at: number): number | null {
  if (at + FRAME_BYTES > bytes.length) return null
  const end = at + FRAME_BYTES + bytes.readUInt32LE(at)
  if (end === at + FRAME_BYTES || end > bytes.length) return null
  return crc32(bytes.subarray(at + FRAME_BYTES, end)) === bytes.readUInt32LE(at + 4) ? end : null
}

function truncate(path: string, bytes: number): void {
  const fd = openSync(path, 'r+')
  try {
    ftruncateSync(fd, bytes)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
