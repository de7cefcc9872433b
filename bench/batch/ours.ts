/**
 * Our engine: worker threads, batch loop and model, without gateway and sockets.
 *
 * The generations are shared by the workers, start together, are greedy, and are never at their end before their last
 * token. There is no prefix cache, so every round computes its prompts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine } from '../../src/engine/engine.js'
import type { Generation } from '../../src/model/model.js'
import { planDecoder } from '../../src/model/source.js'
import { MODEL_DIR, measure, PROMPTS, readJob, report } from './setup.js'

const END_OF_TEXT = 0

const job = readJob()
const { file, width, workers, threads, tokens } = job
const slots = Math.ceil(width / workers)
const source = planDecoder('bench', MODEL_DIR, {
  file,
  slots,
  threads,
  maxKvBytes: 1024 * 1_048_576,
  prefixCacheBytes: 0,
  prefillChunk: 64,
})

let open = 0
let allEnded: () => void = () => {}
const fail = (reason: string): void => report({ failed: reason })
const engine = new Engine(
  { source, workers, maxInFlight: 1024, stallMs: 60_000 },
  {
    flush: async ({ ends }) => {
      open -= ends.length
      if (open === 0) allEnded()
    },
    lost: (_, reason) => fail(reason),
    free: () => {},
    noted: () => {},
    unloadable: fail,
  },
)
await engine.open()
while (engine.slots < slots * workers) await sleep(10)

const rates = await measure(job, (round) => {
  open = width
  for (let i = 0; i < width; i++) engine.start(generation(round * width + i), [])
  return new Promise((resolve) => {
    allEnded = resolve
  })
})
report({ rates })
await engine.close()

function generation(number: number): Generation {
  return {
    prompt: { type: 'text', text: PROMPTS[number % PROMPTS.length] as string },
    promptIds: null,
    sampling: { seed: 1, temperature: 0, logitBias: [[END_OF_TEXT, -100]] },
    maxTokens: tokens,
    recorded: [],
    topLogprobs: null,
  }
}
