/**
 * Tokens a second of our engine: worker threads, batch loop and model, without gateway and sockets.
 *
 * Forked with WIDTH WORKERS THREADS TOKENS: so many generations at once, shared by the workers, each of TOKENS tokens.
 * Says the rate of each of three rounds; the first, which warms up, is left out.
 */
import { Engine } from '../../src/engine/engine.js'
import type { WorkerFlush } from '../../src/engine/messages.js'
import { benchSource, generationOf, report } from './setup.js'

const [width = 1, workers = 1, threads = 1, tokens = 1] = process.argv.slice(2).map(Number)

let open = 0
let done: () => void = () => {}
const engine = new Engine(
  { source: benchSource({ slots: Math.ceil(width / workers), threads }), workers, maxInFlight: 1024 },
  {
    flush: async ({ ends }: WorkerFlush) => {
      open -= ends.length
      if (open === 0) done()
    },
    lost: () => report('failed'),
    free: () => {},
    unloadable: (reason) => report('failed', reason),
  },
)
await engine.open()
while (engine.slots < Math.ceil(width / workers) * workers) await new Promise((resolve) => setTimeout(resolve, 10))

const rates: number[] = []
for (let round = 0; round < 4; round++) {
  open = width
  const ended = new Promise<void>((resolve) => {
    done = resolve
  })
  const from = performance.now()
  for (let i = 0; i < width; i++) engine.start(generationOf(round * width + i, tokens), [])
  await ended
  if (round > 0) rates.push((width * tokens * 1000) / (performance.now() - from))
}
report('rates', rates)
await engine.close()
