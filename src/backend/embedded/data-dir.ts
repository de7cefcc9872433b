/**
 * The data directory: ours alone while we run, and of a version that we know.
 *
 * The lock is the kernel's (on an open file), so it ends with the process however that ends, and holds between
 * containers that share a volume. What the directory holds is not touched before both are certain.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { tryLock } from 'fs-native-extensions'

/** Counts up with every change that an older gateway could not read. */
const VERSION = 1
const MARK = /^rejoin data, version (\d+)\n$/
const LOCK = 'lock'
const VERSION_FILE = 'version'

export class DataDir {
  readonly #lock: number
  /** Files of the journal. */
  readonly journal: string
  /** Of LMDB. */
  readonly archive: string

  private constructor(path: string, lock: number) {
    this.#lock = lock
    this.journal = join(path, 'journal')
    this.archive = join(path, 'archive')
  }

  /** Makes it where it is not there yet.
   * @throws Error with one line for the user: another process has it, another version wrote it, it cannot be written */
  static open(path: string): DataDir {
    const lock = orSay(`cannot write to the data directory ${path}`, () => {
      mkdirSync(path, { recursive: true })
      return openSync(join(path, LOCK), 'a')
    })
    try {
      if (!tryLock(lock)) throw new Error(`the data directory ${path} is in use by another gateway`)
      checkVersion(path)
      const dir = new DataDir(path, lock)
      orSay(`cannot write to the data directory ${path}`, () => {
        for (const folder of [dir.journal, dir.archive]) mkdirSync(folder, { recursive: true })
      })
      return dir
    } catch (error) {
      closeSync(lock)
      throw error
    }
  }

  close(): void {
    closeSync(this.#lock)
  }
}

function checkVersion(path: string): void {
  const known = readMark(path)
  if (known === null) {
    const strange = readdirSync(path).find((name) => name !== LOCK && name !== `${VERSION_FILE}.new`)
    if (strange !== undefined) {
      throw new Error(`${path} is no data directory of Rejoin and not empty (it holds ${strange}): name another`)
    }
    orSay(`cannot write to the data directory ${path}`, () => writeMark(path))
    return
  }
  const version = MARK.exec(known)?.[1]
  if (version === String(VERSION)) return
  const written = version === undefined ? 'what wrote it is not known' : `it was written by version ${version}`
  throw new Error(`the data directory ${path} cannot be read: ${written}, and this gateway reads version ${VERSION}`)
}

function readMark(path: string): string | null {
  try {
    return readFileSync(join(path, VERSION_FILE), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Whole or not at all, whatever happens meanwhile. */
function writeMark(path: string): void {
  const unfinished = join(path, `${VERSION_FILE}.new`)
  const fd = openSync(unfinished, 'w')
  writeSync(fd, `rejoin data, version ${VERSION}\n`)
  fsyncSync(fd)
  closeSync(fd)
  renameSync(unfinished, join(path, VERSION_FILE))
}

function orSay<T>(what: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`)
  }
}
