/** A worker thread that posts what a scripted model says, step by step, until the answer ends or the thread dies. */
import { parentPort, workerData } from 'node:worker_threads'
import type { Generation } from '../../src/model/model.js'
import { ScriptedModel } from '../../src/model/scripted.js'
import { nextStep } from './answer.js'

if (parentPort) {
  const model = new ScriptedModel({ slots: 1 })
  await model.admit(workerData as Generation)
  for (let ended = false; !ended; ) {
    const outputs = await nextStep(model)
    parentPort.postMessage(outputs)
    ended = outputs.some(({ end }) => end !== null)
  }
}
