/**
 * What a client of a peer asks for: the body of a POST, or the text of a `submit` frame.
 */
import { parseScript, type Script } from '../../src/model/script.js'

export type Submit = { type: 'submit'; ref: number; prompt: string }

/** Scripts are parsed once each: that is the model's cost, not the server's. */
const scripts = new Map<string, Script>()

/** @throws RejoinError `invalid_prompt` */
export function scriptOf(prompt: string): Script {
  let script = scripts.get(prompt)
  if (!script) {
    script = parseScript({ type: 'text', text: prompt })
    scripts.set(prompt, script)
  }
  return script
}

/** A server tells the benchmark in the words of the gateway where it listens and that it is ready. */
export const sayReady = (port: number): void => {
  process.stdout.write(`It listens on http://127.0.0.1:${port}\nReady.\n`)
}
