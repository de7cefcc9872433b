/**
 * What was accepted and said before this start, from the journal's files and what was kept elsewhere of long tasks.
 *
 * The files are read in order. Words that a task's kept copy has already are passed over, and so are those of tasks
 * that were archived, whose beginnings may be in files that are gone.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskEvent } from '../../core/event.js'
import type { Task } from '../../core/task.js'
import { TaskLog } from '../../log/task-log.js'
import type { Recovered } from '../backend.js'
import { type JournalEntry, readRecord } from './record.js'
import { readSegment, segmentName, segmentNumber } from './segment.js'

/** `file`: the oldest one with words of it that are nowhere else; null when there is none. */
type Found = { recovered: Recovered; file: number | null }

export type Recovery = {
  /** In the order in which they were accepted; ended ones, too. */
  found: Found[]
  /** Numbers of the files that there are. */
  files: number[]
  nextFile: number
  nextOrdinal: number
}

/** `copies` are kept elsewhere, of tasks that had not ended then.
 * @throws when a file is damaged, or its records are not those of a journal */
export function replay(dir: string, copies: Recovered[], maxRingEvents: number): Recovery {
  const numbers = readdirSync(dir)
    .map(segmentNumber)
    .filter((number) => number !== null)
    .sort((a, b) => a - b)
  const tasks = new Tasks(copies, maxRingEvents)
  const files: number[] = []
  for (const number of numbers) {
    const path = join(dir, segmentName(number))
    const records = readSegment(path, number === numbers.at(-1))
    if (records.length === 0) {
      rmSync(path)
      continue
    }
    files.push(number)
    for (const record of records) for (const entry of readRecord(record)) tasks.apply(entry, number, path)
  }
  return { found: tasks.found, files, nextFile: (numbers.at(-1) ?? 0) + 1, nextOrdinal: tasks.nextOrdinal }
}

class Tasks {
  readonly #maxRingEvents: number
  readonly #found = new Map<number, Found>()
  nextOrdinal = 1

  constructor(copies: Recovered[], maxRingEvents: number) {
    this.#maxRingEvents = maxRingEvents
    for (const recovered of copies) this.#found.set(recovered.task.ordinal, { recovered, file: null })
  }

  get found(): Found[] {
    return [...this.#found.values()].sort((a, b) => a.recovered.task.ordinal - b.recovered.task.ordinal)
  }

  apply(entry: JournalEntry, file: number, path: string): void {
    switch (entry.type) {
      case 'task':
        this.#accept(entry.task, entry.first, file)
        return
      case 'words': {
        const found = this.#found.get(entry.ordinal)
        const first = entry.events[0]
        if (!found || !first || first.seq <= found.recovered.log.lastSeq) return
        found.file ??= file
        const { log, ids, task } = found.recovered
        try {
          for (const event of entry.events) log.append({ task: task.id, ...event })
        } catch (error) {
          throw new Error(`${path} does not fit together: ${(error as Error).message}`)
        }
        for (const id of entry.ids) ids.push(id)
        return
      }
      case 'cancel': {
        const found = this.#found.get(entry.ordinal)
        if (!found) return
        found.file ??= file
        found.recovered.canceledBy ??= entry.by
        return
      }
      default:
        entry satisfies never
    }
  }

  #accept(task: Task, first: TaskEvent, file: number): void {
    this.nextOrdinal = Math.max(this.nextOrdinal, task.ordinal + 1)
    if (this.#found.has(task.ordinal)) return
    const log = new TaskLog(task.id, this.#maxRingEvents)
    log.append(first)
    this.#found.set(task.ordinal, { recovered: { task, log, ids: [], canceledBy: null }, file })
  }
}
