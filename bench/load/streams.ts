/**
 * Readers in a process of their own: N at a time, each submits a task, reads its stream to the end, and goes on.
 *
 * Forked with the gateway's URL and N. Says `started` when all N have had a first byte; told `stop`, it says what the
 * tasks that ended since then say of themselves, and exits.
 */
const [url = '', count = '1'] = process.argv.slice(2)
const PROMPTS = ['a fox who lost a kite', 'a dog and a red ball', 'an owl that could not sleep', 'a boat made of paper']

/** Of the tasks that ended: how many, their tokens, and for each the milliseconds from acceptance to the first one. */
export type Streams = { tasks: number; tokens: number; firstTokenMs: number[] }

let stopped = false
let streams: Streams = { tasks: 0, tokens: 0, firstTokenMs: [] }
let number = 0

async function read(onFirst: () => void): Promise<void> {
  // Of unequal length, or all of them would end and begin at the same time for ever.
  const max_tokens = 100 + ((number * 37) % 200)
  const prompt = `Tell me a story about ${PROMPTS[number++ % PROMPTS.length]}.`
  const body = JSON.stringify({ prompt, max_tokens, logit_bias: { 0: -100 } })
  const headers = { accept: 'text/event-stream' }
  const response = await fetch(`${url}/v1/tasks`, { method: 'POST', body, headers })
  let end = ''
  for await (const chunk of response.body ?? []) {
    onFirst()
    if (stopped) return
    // The last event has it all; it is never far from the end.
    end = (end + Buffer.from(chunk as Uint8Array).toString('latin1')).slice(-1000)
  }
  const { timings, usage } = JSON.parse(end.slice(end.lastIndexOf('data: ') + 6)) as Completed
  streams.tasks++
  streams.tokens += usage.completion_tokens
  streams.firstTokenMs.push(timings.first_token_ms)
}

type Completed = { usage: { completion_tokens: number }; timings: { first_token_ms: number } }

async function follow(): Promise<void> {
  await new Promise<void>((resolve) => {
    const loop = async (): Promise<void> => {
      while (!stopped) await read(resolve)
    }
    void loop()
  })
}

await Promise.all(Array.from({ length: Number(count) }, follow))
streams = { tasks: 0, tokens: 0, firstTokenMs: [] }
process.send?.('started')
process.once('message', () => {
  stopped = true
  process.send?.(streams, () => process.exit(0))
})
