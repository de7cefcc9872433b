/**
 * A task and all that it has said, as one value of bytes: what the archive holds of it.
 */
import type { CanceledBy } from '../../core/event.js'
import type { Task } from '../../core/task.js'
import { type LogDump, TaskLog } from '../../log/task-log.js'
import { pack, unpackOwn } from '../../wire/msgpack.js'
import type { Kept, Recovered } from '../backend.js'

/** Msgpack knows no array of numbers but that of bytes. */
export type PlainTask = Omit<Task, 'promptIds'> & { promptIds: Uint8Array | null }

type PlainLog = Omit<LogDump, 'ring'> & { ring: Uint8Array }
type Plain = [task: PlainTask, log: PlainLog, ids: number[], canceledBy: CanceledBy | null]

/** An ended task needs neither the ids of its prompt nor those of its answer any more. */
export function packKept({ task, log }: Kept): Uint8Array {
  const plain: Plain = [plainTask({ ...task, promptIds: null }), plainLog(log), [], null]
  return pack(plain)
}

/** A task that has not ended, to go on from here. */
export function packUnended({ task, log, ids, canceledBy }: Recovered): Uint8Array {
  const plain: Plain = [plainTask(task), plainLog(log), ids, canceledBy]
  return pack(plain)
}

/** What either of the two packed. */
export function unpackKept(bytes: Uint8Array, maxRingEvents: number): Recovered {
  const [task, log, ids, canceledBy] = unpackOwn(bytes) as Plain
  const dump = { ...log, ring: new Uint32Array(aligned(log.ring)) }
  return { task: taskOf(task), log: TaskLog.restore(task.id, maxRingEvents, dump), ids, canceledBy }
}

export const plainTask = (task: Task): PlainTask => ({
  ...task,
  promptIds: task.promptIds === null ? null : bytesOf(task.promptIds),
})

export const taskOf = (task: PlainTask): Task => ({
  ...task,
  promptIds: task.promptIds === null ? null : new Int32Array(aligned(task.promptIds)),
})

function plainLog(log: TaskLog): PlainLog {
  const dump = log.dump()
  return { ...dump, ring: bytesOf(dump.ring) }
}

const bytesOf = (numbers: Int32Array | Uint32Array): Uint8Array =>
  new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)

/** A copy that begins where an array of numbers may. */
const aligned = (bytes: Uint8Array): ArrayBuffer => Uint8Array.prototype.slice.call(bytes).buffer as ArrayBuffer
