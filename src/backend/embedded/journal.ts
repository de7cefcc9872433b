/**
 * The journal: what was accepted and said, appended to a file before anybody sees it.
 *
 * What is appended in one turn of the event loop, and all that comes while a write is under way, is one record and one
 * write: the cost is per group and not per event. A write that fails is tried again until it succeeds, and nothing
 * behind it is written or shown meanwhile: no gap, however long the disk is full. Only what nobody has been promised
 * yet (`mayFail`) is given up instead, so that its caller can be told.
 */
import { setTimeout as sleep } from 'node:timers/promises'
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
  /** Told when writing begins to fail, and with null when it works again. */
  onTrouble: (error: Error | null) => void
}

/** `process`: what the kernel has is asked to be on the disk this often while something is written. */
const SYNC_MS = 1000
/** After a group of so many bytes the next one has so long to become as large: a write costs some 40 µs, whatever is in it. */
const LARGE = { bytes: 4096, spacingMs: 2 }
const RETRY_MS = { first: 50, max: 1000 }

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
  #scheduled = false
  /** When the next group is written, at the earliest, in ms of `performance.now`. */
  #notBefore = 0
  #syncTimer: NodeJS.Timeout | null = null
  #syncing: Promise<void> = Promise.resolve()
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
    write(this.#open.record)
    this.#schedule()
    return this.#open.written
  }

  /** As `append`, for what nobody has been told of: it rejects, and is not written, when the disk does not take it. */
  tryAppend(write: (record: RecordWriter) => void): Promise<void> {
    const group = this.#open
    const from = group.record.end
    write(group.record)
    const to = group.record.end
    this.#schedule()
    return new Promise((resolve, reject) => {
      group.mayFail.push({ from, to, reject })
      void group.written.then(resolve)
    })
  }

  async close(): Promise<void> {
    if (this.#scheduled || this.#writing) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    if (this.#syncTimer) clearTimeout(this.#syncTimer)
    await this.#syncing
    await this.#segment.sync()
    await this.#segment.close()
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing) return
    this.#scheduled = true
    // What the rest of this turn brings goes with it.
    setImmediate(() => void this.#run())
  }

  async #run(): Promise<void> {
    this.#scheduled = false
    this.#writing = true
    while (!this.#open.record.empty) {
      const waitMs = this.#notBefore - performance.now()
      if (waitMs >= 1) await sleep(waitMs)
      const group = this.#open
      this.#open = this.#spare
      this.#spare = group
      this.#open.begin()
      if (group.record.end >= LARGE.bytes) this.#notBefore = performance.now() + LARGE.spacingMs
      await this.#write(group)
      group.succeed()
    }
    this.#writing = false
    this.#idle()
  }

  async #write(group: Group): Promise<void> {
    for (let retryMs = RETRY_MS.first; ; retryMs = Math.min(retryMs * 2, RETRY_MS.max)) {
      try {
        await this.#rotate()
        // All of it was given up; the next one must not have to be the first to find room.
        if (group.record.empty) await this.#segment.probe()
        else await this.#append(group.record.bytes)
        if (retryMs > RETRY_MS.first) this.#options.onTrouble(null)
        return
      } catch (error) {
        this.#options.onTrouble(error as Error)
        group.shed(error as Error)
        await sleep(retryMs)
      }
    }
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
    // Every file but the newest must be whole after a loss of power.
    await full.sync()
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
      this.#syncing = this.#segment.sync().catch(() => {})
    }, SYNC_MS).unref()
  }
}
