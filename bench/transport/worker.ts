/**
 * The worker thread of `transport.ts`: it says what it is told to, and waits while too many events are on their way.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { type FormName, forms, IN_FLIGHT } from './forms.js'

const { name, events, taken } = workerData as { name: FormName; events: number; taken: Int32Array }
const { size, write } = forms[name]

for (let said = 0; said < events; said += size) {
  for (let seen = Atomics.load(taken, 0); said + size - seen > IN_FLIGHT; seen = Atomics.load(taken, 0)) {
    Atomics.wait(taken, 0, seen)
  }
  parentPort?.postMessage(write(said))
}
