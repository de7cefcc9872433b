/** The samples of the documents, run as they stand, but for the address of the gateway. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { missing, openPage } from './page/browser.js'
import { startGateway } from './server/harness.js'
import { until } from './until.js'

// From dist/test to the repository.
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const ADDRESS = '127.0.0.1:8080'
const PATIENCE_MS = 60_000

type Sample = { language: string; code: string }

/** The fenced blocks of a part of a document. */
function samplesOf(file: string, from: string, to: string | null): Sample[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  const begin = text.indexOf(from)
  const part = text.slice(begin, to === null ? undefined : text.indexOf(to, begin))
  return [...part.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({ language, code }))
}

const DOCUMENTS = {
  'the README': samplesOf('README.md', '## Use it from …', '## Test it'),
  'docs/client.md': samplesOf('docs/client.md', '# The client', null),
}

/** What a program said; it must end well. */
async function output(t: TestContext, program: string, args: string[], host: string): Promise<string> {
  // Within the package, where `rejoin/client` is this one.
  const dir = mkdtempSync(join(dirname(fileURLToPath(import.meta.url)), 'sample-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  writeFileSync(join(dir, 'sample.mjs'), args[0] ?? '')
  const env = {
    ...process.env,
    PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`,
    REJOIN_CLIENT_URL: `http://${host}`,
  }
  const argv = program === 'bash' ? ['-euc', args[0] ?? ''] : [join(dir, 'sample.mjs')]
  const { stdout } = await promisify(execFile)(program, argv, { cwd: dir, env, timeout: PATIENCE_MS })
  return stdout
}

for (const [document, samples] of Object.entries(DOCUMENTS)) {
  describe(`the samples of ${document}`, { concurrency: 2 }, () => {
    const runnable = samples.filter(({ language }) => language === 'js' || language === 'sh')
    const pages = samples.filter(({ language }) => language === 'html')

    for (const [index, { language, code }] of runnable.entries()) {
      test(`no. ${index + 1}, ${language}: ${code.split('\n')[0]}`, async (t) => {
        const { url } = await startGateway(t, { model: ['default'] })
        const { host } = new URL(url)
        if (code.includes('rejoin tasks')) {
          await fetch(`${url}/v1/tasks`, { method: 'POST', body: JSON.stringify({ prompt: 'Hello!' }) })
        }
        // The command itself, since npx looks it up where this package is installed.
        const cli = `node ${join(ROOT, 'dist/src/cli.js')}`
        const ours = code.replaceAll(ADDRESS, host).replaceAll('npx rejoin', cli).replaceAll('npx wscat', 'wscat')

        const said = await output(t, language === 'sh' ? 'bash' : process.execPath, [ours], host)

        assert.match(said, /\S{3,} \w+/, 'an answer, which has words')
      })
    }

    for (const [index, { code }] of pages.entries()) {
      test(`page no. ${index + 1}`, { skip: missing }, async (t) => {
        const { url } = await startGateway(t, { model: ['default'] })
        const page = await openPage(t, url)
        const script = code.replace('<script type="module">', '').replace('</script>', '')
        // As a module, whose imports an evaluated text can only have one by one.
        const evaluated = script.replace(/import (\{.*\}) from ('.*')/, 'const $1 = await import($2)')

        await page.evaluate('document.body.replaceChildren()')
        void page.evaluate(`(async () => {${evaluated}})()`).catch(() => {})

        await until('an answer', async () =>
          /\w{3,} \w+/.test(String(await page.evaluate('document.body.textContent'))),
        )
      })
    }
  })
}
