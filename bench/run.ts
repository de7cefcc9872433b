/**
 * Runs the benchmarks, one process each: all of them, or those that are named.
 *
 * `npm run bench`, `npm run bench -- sampler`
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

const BENCHES = [
  'batch',
  'sampler',
  'threads',
  'journal',
  'durability',
  'restart',
  'delivery',
  'fanout',
  'resume',
  'idle',
  'submit',
  'transport',
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !BENCHES.includes(name))
if (unknown.length > 0) {
  process.stderr.write(`no benchmark ${unknown.join(', ')}; there are: ${BENCHES.join(', ')}\n`)
  process.exit(2)
}

process.stdout.write(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)
for (const name of wanted.length > 0 ? wanted : BENCHES) {
  process.stdout.write(`\n# ${name}\n`)
  const file = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
  const [code] = await once(spawn(process.execPath, [file], { stdio: 'inherit' }), 'exit')
  if (code !== 0) process.exitCode = 1
}
