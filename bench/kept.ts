/**
 * What a kept event costs in memory, while its task runs.
 *
 * `npm run bench -- kept`. Logs of 10,000 token events of about five characters, as a model says them; what is held in V8's heap
 * and in buffers before and after, without garbage. Bad: over 40 bytes an event.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { newTaskId } from '../src/core/id.js'
import { TaskLog } from '../src/log/task-log.js'
import { markdown } from './load/table.js'

const LOGS = 200
const EVENTS = 10_000
const WORDS = [' the', ' fox', ' kite', ' found', 'ed', ',', ' and', ' morning', ' was', ' a']

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const logs: TaskLog[] = []

function fill(): number {
  let text = 0
  for (let i = 0; i < LOGS; i++) {
    const log = new TaskLog(newTaskId(), 1_048_576)
    for (let event = 0; event < EVENTS; event++) {
      const word = WORDS[(event * 7 + i) % WORDS.length] as string
      log.addToken(word, 1, 1_790_000_000_000 + event * 20)
      text += word.length
    }
    log.show(log.addedSeq)
    logs.push(log)
  }
  return text
}

function heldBytes(): number {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const before = heldBytes()
const text = fill()
const bytes = (heldBytes() - before) / (LOGS * EVENTS)
const held = logs.reduce((sum, log) => sum + log.bytes, 0) / (LOGS * EVENTS)
process.stdout.write(
  `\n${markdown(['bytes an event', 'as the log counts itself', 'of it text'], [[bytes.toFixed(1), held.toFixed(1), (text / (LOGS * EVENTS)).toFixed(1)]])}`,
)
