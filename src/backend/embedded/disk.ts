/**
 * What a gateway keeps in its data directory: a journal of all that is accepted and said, and an archive of what ended.
 *
 * A task's words are in the journal until the archive has them whole; only then may the files go that hold them. So
 * after a crash each is in one of the two, and what is in both is passed over.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Delivery } from '../../core/delivery.js'
import type { CanceledBy, TaskEvent } from '../../core/event.js'
import type { TaskId } from '../../core/id.js'
import type { Task } from '../../core/task.js'
import type { Flush, Recovered } from '../backend.js'
import type { Retention, StoredKey } from './archive.js'
import { DataDir } from './data-dir.js'
import { DiskArchive } from './disk-archive.js'
import type { OnTrouble } from './insist.js'
import { Journal } from './journal.js'
import { packUnended, unpackKept } from './kept.js'
import { keyOf } from './keys.js'
import { type Recovery, replay } from './replay.js'
import { segmentName } from './segment.js'
import { Tail } from './tail.js'

export type DiskOptions = {
  path: string
  /** `disk`: what is accepted or shown would survive a loss of power; `process`: the end of the process. */
  durability: 'process' | 'disk'
  /** Of the journal, about: past that, tasks that run for long are written anew so that its older files can go. */
  journalBytes: number
  /** Told when the disk takes nothing any more, and with null when it does again. */
  onTrouble: OnTrouble
}

/** What a task said, and its number in the journal. */
export type Words = { ordinal: number; flush: Flush }

/** What a start finds. */
export type DiskOpened = {
  disk: Disk
  /** Tasks that have not ended, or are not in the archive yet, in the order of acceptance. */
  recovered: Recovered[]
  /** In the order of their tasks. */
  keys: StoredKey[]
  deliveries: Delivery[]
  nextOrdinal: number
}

/** The journal is spread over about so many, since it can only shrink by whole files. */
const FILES = 4

export class Disk {
  readonly archive: DiskArchive
  readonly #dir: DataDir
  readonly #journal: Journal
  readonly #trouble: Trouble
  readonly #tail: Tail
  /** The newest file of the journal when its length was looked at last. */
  #checkedFile: number
  #checkpoint: (id: TaskId) => Recovered | null = () => null

  private constructor(dir: DataDir, journal: Journal, archive: DiskArchive, tail: Tail, trouble: Trouble) {
    this.archive = archive
    this.#dir = dir
    this.#journal = journal
    this.#tail = tail
    this.#trouble = trouble
    this.#checkedFile = journal.file
  }

  /** @throws Error with one line for the user: the directory cannot be had or written, or what it holds is damaged */
  static async open(options: DiskOptions, retention: Retention, maxRingEvents: number): Promise<DiskOpened> {
    const { durability, journalBytes } = options
    const dir = DataDir.open(options.path)
    const trouble = new Trouble(options.onTrouble)
    const archive = new DiskArchive(dir.archive, retention, (error) => trouble.set('archive', error))
    try {
      const kept = await archive.open()
      const copies = kept.unended.map((blob) => unpackKept(blob, maxRingEvents))
      const recovery = replay(dir.journal, copies, maxRingEvents)
      const journal = await Journal.open({
        dir: dir.journal,
        durability,
        fileBytes: Math.ceil(journalBytes / FILES),
        firstFile: recovery.nextFile,
        onTrouble: (error) => trouble.set('journal', error),
      })
      const nextOrdinal = Math.max(kept.nextOrdinal, recovery.nextOrdinal)
      archive.nextOrdinal = nextOrdinal
      const tail = new Tail(recovery.files[0] ?? recovery.nextFile)
      const disk = new Disk(dir, journal, archive, tail, trouble)
      const keys = keysOf(kept.keys, recovery)
      return { disk, recovered: await disk.#take(recovery), keys, deliveries: kept.deliveries, nextOrdinal }
    } catch (error) {
      await archive.close().catch(() => {})
      dir.close()
      throw error
    }
  }

  /** Why nothing can be written now; null when it can. */
  get trouble(): Error | null {
    return this.#trouble.error
  }

  onCheckpoint(listener: (id: TaskId) => Recovered | null): void {
    this.#checkpoint = listener
  }

  /** False when the disk does not take it. */
  async accept(task: Task, first: TaskEvent): Promise<boolean> {
    this.archive.nextOrdinal = task.ordinal + 1
    this.#tail.enter(task.id, this.#journal.file)
    try {
      await this.#journal.tryAppend((record) => record.task(task, first))
      this.#checkLength()
      return true
    } catch {
      this.#tail.leave(task.id)
      return false
    }
  }

  append(words: Words[]): Promise<void> {
    this.#checkLength()
    // One that was recovered may have had nothing in the journal until now.
    for (const { flush } of words) this.#tail.enter(flush.id, this.#journal.file)
    return this.#journal.append((record) => {
      for (const { ordinal, flush } of words) record.words(ordinal, flush)
    })
  }

  /** See `Backend.room`. */
  room(): Promise<void> {
    return this.#journal.room()
  }

  /** The wish that a task ends. Whoever has it is not kept waiting for a disk that takes nothing. */
  async cancel(task: Task, by: CanceledBy): Promise<void> {
    if (this.trouble !== null) return
    this.#tail.enter(task.id, this.#journal.file)
    await this.#journal.append((record) => record.cancel(task.ordinal, by))
  }

  /** The archive has all of it. */
  archived(id: TaskId): void {
    this.#tail.leave(id)
    this.#dropFiles()
  }

  async close(): Promise<void> {
    await this.#journal.close()
    await this.archive.close()
    this.#dir.close()
  }

  /** Of what was found, all that the archive does not have. */
  async #take({ found }: Recovery): Promise<Recovered[]> {
    const ended = found.filter(({ recovered }) => recovered.log.ended)
    const archived = await this.archive.known(ended.map(({ recovered }) => recovered.task.id))
    const taken = found.filter(({ recovered }) => !archived.has(recovered.task.id))
    for (const { recovered, file } of taken) if (file !== null) this.#tail.enter(recovered.task.id, file)
    this.#dropFiles()
    return taken.map(({ recovered }) => recovered)
  }

  /** Once per file of the journal: when it has become too long, what holds up its older files is kept elsewhere. */
  #checkLength(): void {
    const { file } = this.#journal
    if (file === this.#checkedFile) return
    this.#checkedFile = file
    for (const id of this.#tail.before(file - FILES + 1)) void this.#keepElsewhere(id)
  }

  async #keepElsewhere(id: TaskId): Promise<void> {
    const recovered = this.#checkpoint(id)
    // It has ended and is on its way into the archive.
    if (recovered === null) return
    // What is not in the copy is being written to this file, or will be to a later one.
    const { file } = this.#journal
    await this.archive.putUnended({ id, blob: packUnended(recovered), key: keyOf(recovered.task) })
    this.#tail.move(id, file)
    this.#dropFiles()
  }

  #dropFiles(): void {
    for (const file of this.#tail.takeUnneeded(this.#journal.file)) {
      // One that stays is read by the next start, and passed over.
      void rm(join(this.#dir.journal, segmentName(file)), { force: true }).catch(() => {})
    }
  }
}

/** Keys of tasks that are in the journal only come after those that the archive has, but for a few. */
function keysOf(kept: StoredKey[], { found }: Recovery): StoredKey[] {
  const fresh = found.flatMap(({ recovered }) => keyOf(recovered.task) ?? [])
  return [...kept, ...fresh].sort((a, b) => a.ordinal - b.ordinal)
}

/** Of those that write: while one has trouble, nothing is accepted. */
class Trouble {
  readonly #errors = new Map<string, Error>()
  readonly #onChange: OnTrouble

  constructor(onChange: OnTrouble) {
    this.#onChange = onChange
  }

  get error(): Error | null {
    for (const error of this.#errors.values()) return error
    return null
  }

  set(writer: string, error: Error | null): void {
    const before = this.error
    if (error === null) this.#errors.delete(writer)
    else this.#errors.set(writer, error)
    if ((before === null) !== (this.error === null)) this.#onChange(this.error)
  }
}
