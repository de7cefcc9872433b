/**
 * What it costs the main thread to be told of a token by a worker thread, by the form of the message.
 *
 * `npm run bench -- transport`. A worker says events of 100 tasks (handle, text, one token id), at most 1,024 of them on their way: an
 * object a message; 32 objects a message; one flat array for 256 events; a typed array of numbers and one string of all
 * texts for 256 events. The main thread looks at each field of each event. Its CPU alone counts; the forms take turns, medians of
 * three rounds. Bad: the flat array, which the engine uses, at more than a fifth of an object a message.
 */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { mainThreadCpuSeconds } from './cpu.js'
import { markdown, ratio } from './load/table.js'
import { median } from './statistics.js'
import { type Form, type FormName, forms, IN_FLIGHT } from './transport/forms.js'

const ROUNDS = 3
/** As many as take the main thread some tenths of a second. */
const EVENTS: Record<FormName, number> = { object: 300_000, objects: 600_000, flat: 2_000_000, typed: 3_000_000 }

const WORKER = fileURLToPath(new URL('./transport/worker.js', import.meta.url))

/** Microseconds of the main thread's CPU an event. */
async function costUs(name: FormName, form: Form<unknown>): Promise<number> {
  const taken = new Int32Array(new SharedArrayBuffer(4))
  const events = Math.ceil(EVENTS[name] / form.size) * form.size
  const worker = new Worker(WORKER, { workerData: { name, events, taken } })
  let [seen, sum, from] = [0, 0, 0]
  const onEvent = (handle: number, text: string, id: number): void => {
    sum += handle + text.length + id
  }
  worker.on('message', (message: unknown) => {
    if (seen === 0) from = mainThreadCpuSeconds()
    const count = form.read(message, onEvent)
    seen += count
    Atomics.add(taken, 0, count)
    Atomics.notify(taken, 0)
  })
  await once(worker, 'exit')
  const cpuS = mainThreadCpuSeconds() - from
  if (seen !== events || sum === 0) throw new Error(`${seen} of ${events} events came`)
  return (cpuS * 1e6) / events
}

const costs = new Map<FormName, number[]>()
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, form] of Object.entries(forms) as [FormName, Form<unknown>][]) {
    costs.set(name, [...(costs.get(name) ?? []), await costUs(name, form)])
  }
}
const object = median(costs.get('object') ?? [])
const rows = [...costs].map(([name, each]) => [forms[name].title, median(each).toFixed(3), ratio(median(each), object)])
process.stdout.write(`At most ${IN_FLIGHT} events on their way.\n\n`)
process.stdout.write(markdown(['a message is', 'main thread µs/event', '/ an object'], rows))
