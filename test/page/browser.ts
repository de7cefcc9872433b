/**
 * Debian's Chromium for a test file: one process, a fresh profile, and whatever is wrong in the page fails the test.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, type TestContext } from 'node:test'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Why the tests of the page cannot run here; in CI that is a failure and no reason. */
export const missing: string | false =
  existsSync(CHROMIUM) || process.env.CI ? false : `${CHROMIUM} is not installed (apt-get install chromium)`

let browser: Promise<Browser> | null = null
after(async () => (await browser)?.close())

/** Opens a page; when the test ends, errors in its console and requests to other hosts have failed it. */
export async function openPage(t: TestContext, url: string, options: BrowserContextOptions = {}): Promise<Page> {
  browser ??= chromium.launch({ executablePath: CHROMIUM, args: ARGS })
  const context = await (await browser).newContext(options)
  t.after(() => context.close())
  const page = await context.newPage()
  await watch(t, page, url)
  await page.goto(url)
  return page
}

/** A second tab beside a page. */
export async function secondTab(t: TestContext, page: Page): Promise<Page> {
  const tab = await page.context().newPage()
  await watch(t, tab, page.url())
  await tab.goto(page.url())
  return tab
}

async function watch(t: TestContext, page: Page, url: string): Promise<void> {
  const wrong: string[] = []
  page.on('pageerror', (error) => wrong.push(String(error)))
  page.on('console', (message) => {
    // What the network did on purpose is no defect of the page.
    const network = /Failed to load resource|WebSocket connection to/.test(message.text())
    if (message.type() === 'error' && !network) wrong.push(message.text())
  })
  page.on('request', (request) => {
    const { host, protocol } = new URL(request.url())
    if (protocol !== 'data:' && host !== new URL(url).host) wrong.push(`a request to ${request.url()}`)
  })
  t.after(() => assert.deepEqual(wrong, []))
}

type Violation = { id: string; impact: string | null; nodes: { html: string }[] }

/** Serious findings of axe-core. */
export async function seriousFindings(page: Page): Promise<string[]> {
  const path = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
  // By the debugger, for whom the page's policy does not hold.
  const run = `${readFileSync(path, 'utf8')}; axe.run(document, { resultTypes: ['violations'] })`
  const { violations } = (await page.evaluate(run)) as { violations: Violation[] }
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}
