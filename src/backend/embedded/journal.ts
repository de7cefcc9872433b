/**
 * The journal: what was accepted and said, appended to a file before anybody sees it.
 *
 * What is appended in one turn of the event loop, and all that comes while a write is under way, is one record and one
 * write: the cost is per group and not per event. A write that fails is tried again until it succeeds, and nothing
 * behind it is written or shown meanwhile: no gap, however long the disk is full. Only what nobody has been promised
 * yet (`mayFail`) is given up instead, so that its caller can be told.
 *
 * With `process` a group is written at once by this thread: the kernel copies it in some 10 µs, a thread of its own would
 * have it a millisecond later. Where a write may have to wait for the disk, while the file is being synced or after one
 * that was slow, it is left to another thread, so that the event loop never waits.
 */
import { insist, type OnTrouble } from './insist.js'
import { RecordWriter } from './record.js'
import { FRAME_BYTES, frame, Segment, syncDir } from './segment.js'

export type JournalOptions = {
  dir: string
  /** `disk`: what is appended is on the disk, not only with the kernel, before it counts. */
  durability: 'process' | 'disk'
  /** When a file has so many bytes, the next one is begun. */
  fileBytes: number
  /** The number of the first one, which must be new. */
  firstFile: number
  onTrouble: OnTrouble
}

/** `process`: what the kernel has is asked to be on the disk this often while something is written. */
const SYNC_MS = 1000
/** A write by this thread that took longer than `ms` tells of a disk that is busy: for `restMs` none is tried. */
const SLOW = { ms: 5, restMs: 5000 }
/**
 * A write costs some 40 µs, whatever is in it. So after a group of `busyBytes` the next one gathers for a moment, unless it
 * has `fullBytes` before: who waits for it, in the end, is a worker with a bound on what it has under way.
 */
const GATHER = { busyBytes: 4096, ms: 3, fullBytes: 32_768 }
/** As much comes together while one group is written before workers have to wait. */
const ROOM_BYTES = 1_048_576

/** What is written at once. */
class Group {
  readonly record = new RecordWriter(FRAME_BYTES)
  readonly mayFail: { from: number; to: number; reject: (error: Error) => void }[] = []
  written: Promise<void> = Promise.resolve()
  #written: () => void = () => {}

  begin(): void {
    this.record.clear()
    this.mayFail.length = 0
    this.written = new Promise((resolve) => {
      this.#written = resolve
    })
  }

  succeed(): void {
    this.#written()
  }

  /** Gives up what may fail; what is left must still be written. */
  shed(error: Error): void {
    for (const { from, to, reject } of this.mayFail.splice(0).reverse()) {
      this.record.cut(from, to)
      reject(error)
    }
  }
}

export class Journal {
  readonly #options: JournalOptions
  #segment: Segment
  /** Takes what comes, while the other one is being written. */
  #open = new Group()
  #spare = new Group()
  #writing = false
  #closing = false
  #scheduled = false
  /** When the next group is written, at the earliest, in ms of `performance.now`. */
  #notBefore = 0
  /** Until then this thread does not write, in ms of `performance.now`. */
  #slowUntil = 0
  #syncTimer: NodeJS.Timeout | null = null
  #syncing: Promise<void> | null = null
  /** Ends the time to gather. */
  #hurry: () => void = () => {}
  #idle: () => void = () => {}

  private constructor(options: JournalOptions, segment: Segment) {
    this.#options = options
    this.#segment = segment
    this.#open.begin()
  }

  static async open(options: JournalOptions): Promise<Journal> {
    const segment = await Segment.create(options.dir, options.firstFile)
    await syncDir(options.dir)
    return new Journal(options, segment)
  }

  /** The file that is written: what is appended now will be in it, or in a later one. */
  get file(): number {
    return this.#segment.number
  }

  /** Resolves when what `write` adds would survive a crash; appends become so in the order in which they were made. */
  append(write: (record: RecordWriter) => void): Promise<void> {
    this.#add(write)
    return this.#open.written
  }

  /** Resolves when whoever makes what is appended may go on: at once, unless much waits to be written. */
  room(): Promise<void> {
    return this.#open.record.end < ROOM_BYTES ? Promise.resolve() : this.#open.written
  }

  /** As `append`, for what nobody has been told of: it rejects, and is not written, when the disk does not take it. */
  tryAppend(write: (record: RecordWriter) => void): Promise<void> {
    const group = this.#open
    const place = this.#add(write)
    return new Promise((resolve, reject) => {
      group.mayFail.push({ ...place, reject })
      void group.written.then(resolve)
    })
  }

  /** What the disk does not take any more by then was never shown to anybody. */
  async close(): Promise<void> {
    this.#closing = true
    this.#hurry()
    if (this.#scheduled || this.#writing) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    if (this.#syncTimer) clearTimeout(this.#syncTimer)
    await this.#syncing
    // It may be the disk that fails; whoever closes cannot do more about it.
    await this.#segment.finish().catch(() => {})
    await this.#segment.close()
  }

  /** Where in the group it is. An entry that cannot be encoded leaves nothing behind. */
  #add(write: (record: RecordWriter) => void): { from: number; to: number } {
    const { record } = this.#open
    const from = record.end
    try {
      write(record)
    } catch (error) {
      record.cut(from, record.end)
      throw error
    }
    if (this.#full) this.#hurry()
    this.#schedule()
    return { from, to: record.end }
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing) return
    this.#scheduled = true
    // What the rest of this turn brings goes with it.
    setImmediate(() => {
      this.#scheduled = false
      if (this.#mayWriteNow() && this.#writeNow()) this.#idle()
      else void this.#run()
    })
  }

  /** The kernel is likely to take it at once. */
  #mayWriteNow(): boolean {
    const { durability, fileBytes } = this.#options
    if (durability === 'disk' || this.#syncing !== null || this.#segment.size >= fileBytes) return false
    return !this.#open.record.empty && performance.now() >= this.#slowUntil
  }

  /** False when it did not succeed. */
  #writeNow(): boolean {
    const { bytes } = this.#open.record
    frame(bytes)
    const from = performance.now()
    try {
      this.#segment.appendNow(bytes)
    } catch {
      return false
    }
    const to = performance.now()
    if (to - from > SLOW.ms) this.#slowUntil = to + SLOW.restMs
    this.#swap().succeed()
    this.#syncSoon()
    return true
  }

  /** Writes by another thread, until there is nothing left, or this one may write again. */
  async #run(): Promise<void> {
    this.#writing = true
    let written = true
    while (!this.#open.record.empty) {
      await this.#gather()
      const group = this.#swap()
      if (group.record.end >= GATHER.busyBytes) this.#notBefore = performance.now() + GATHER.ms
      written = await this.#write(group)
      if (!written) break
      group.succeed()
      if (this.#mayWriteNow()) break
    }
    this.#writing = false
    if (written && !this.#open.record.empty) this.#schedule()
    else this.#idle()
  }

  /** The group that was open; another one takes what comes from now on. */
  #swap(): Group {
    const group = this.#open
    this.#open = this.#spare
    this.#spare = group
    this.#open.begin()
    return group
  }

  /** Until the group that is open may be written. */
  async #gather(): Promise<void> {
    const waitMs = this.#notBefore - performance.now()
    if (waitMs < 1 || this.#full || this.#closing) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs)
      this.#hurry = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#hurry = () => {}
  }

  get #full(): boolean {
    return this.#open.record.end >= GATHER.fullBytes
  }

  /** False when the journal is closed and the disk does not take it. */
  async #write(group: Group): Promise<boolean> {
    let failed = false
    const written = await insist(
      () => this.#tryToWrite(group),
      (error) => {
        failed = true
        this.#options.onTrouble(error)
        group.shed(error)
        return !this.#closing
      },
    )
    if (written && failed) this.#options.onTrouble(null)
    return written === true
  }

  async #tryToWrite({ record }: Group): Promise<true> {
    await this.#rotate()
    // All of it was given up; the next one must not have to be the first to find room.
    if (record.empty) await this.#segment.probe()
    else await this.#append(record.bytes)
    return true
  }

  async #append(bytes: Buffer): Promise<void> {
    frame(bytes)
    const sync = this.#options.durability === 'disk'
    await this.#segment.append(bytes, sync)
    if (!sync) this.#syncSoon()
  }

  async #rotate(): Promise<void> {
    const full = this.#segment
    if (full.size < this.#options.fileBytes) return
    // Every file but the newest must be whole, and no more than that, whatever happens.
    await full.finish()
    const { dir } = this.#options
    this.#segment = await Segment.create(dir, full.number + 1)
    await syncDir(dir)
    await this.#syncing
    await full.close()
  }

  #syncSoon(): void {
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = null
      // A disk that fails to sync will fail to take the next write or rotation, which deal with it.
      this.#syncing = this.#segment
        .sync()
        .catch(() => {})
        .finally(() => {
          this.#syncing = null
        })
    }, SYNC_MS).unref()
  }
}
