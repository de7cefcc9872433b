/**
 * The entry of a worker thread: load one model, run its batch loop until told to stop.
 *
 * Piscina calls this once per thread; the promise stays open for the thread's whole life. A throw (the model does
 * not load, or does nothing but fail) ends the thread's work, and the main thread starts another.
 */
import { loadModel } from '../model/load.js'
import { BatchLoop } from './batch.js'
import type { WorkerStart } from './messages.js'

export default async function work({ source, port, maxInFlight }: WorkerStart): Promise<void> {
  const model = await loadModel(source)
  try {
    await new BatchLoop(model, port, maxInFlight).run()
  } finally {
    await model.close()
    port.close()
  }
}
