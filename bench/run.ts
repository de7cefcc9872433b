/**
 * Runs the benchmarks, one process each: all of them, or those that are named. What each one prints goes into its place in
 * docs/performance.md, with machine and date, between the marks `<!-- bench NAME -->` and `<!-- end -->`.
 *
 * `npm run bench`, `npm run bench -- delivery resume`
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { placed } from './performance-page.js'

const BENCHES = [
  'delivery',
  'fanout',
  'resume',
  'idle',
  'kept',
  'submit',
  'health',
  'transport',
  'journal',
  'durability',
  'restart',
  'threads',
  'sampler',
  'batch',
]
const PAGE = fileURLToPath(new URL('../../docs/performance.md', import.meta.url))

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !BENCHES.includes(name))
if (unknown.length > 0) {
  process.stderr.write(`no benchmark ${unknown.join(', ')}; there are: ${BENCHES.join(', ')}\n`)
  process.exit(2)
}

const machine = `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version.slice(1)}, ${new Date().toISOString().slice(0, 10)}`
process.stdout.write(`${machine}\n`)
for (const name of wanted.length > 0 ? wanted : BENCHES) {
  process.stdout.write(`\n# ${name}\n`)
  const from = performance.now()
  const file = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
  const child = spawn(process.execPath, [file], { stdio: ['inherit', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
    process.stdout.write(text)
  })
  const [code] = await once(child, 'close')
  process.stdout.write(`(${Math.round((performance.now() - from) / 1000)} s)\n`)
  if (code === 0) writeFileSync(PAGE, placed(readFileSync(PAGE, 'utf8'), name, said, machine))
  else process.exitCode = 1
}
