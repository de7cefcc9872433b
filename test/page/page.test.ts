/** The chat page in a real browser, against a real gateway. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Page } from 'playwright-core'
import { HostileProxy } from '../client/hostile-proxy.js'
import { startGateway } from '../server/harness.js'
import { until } from '../until.js'
import { missing, openPage, secondTab, seriousFindings } from './browser.js'

const HELLO = { text: 'Hello **bold** world', tokens: 4 }
/** Says w0 … w149, for some two seconds. */
const SLOW = { tokens: 150, rate: 75 }
const SLOW_TEXT = Array.from({ length: 150 }, (_, at) => `w${at}`).join(' ')

async function ask(page: Page, script: object): Promise<void> {
  await page.getByLabel('Message', { exact: true }).fill(JSON.stringify(script))
  await page.keyboard.press('Enter')
}

const answer = (page: Page) => page.getByLabel('Answer', { exact: true }).last()
const textOf = async (page: Page): Promise<string> =>
  ((await answer(page).locator('.markdown').textContent()) ?? '').trim()
const saying = (page: Page, word: string): Promise<void> => answer(page).getByText(word).waitFor()
/** What is known of the answer when it has ended. */
const ended = (page: Page): Promise<void> => answer(page).locator('.ending').waitFor()

describe('the chat page', { skip: missing, concurrency: 2 }, () => {
  test('sends a question and shows its answer as Markdown, with what is known of it', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)

    await ask(page, HELLO)
    await ended(page)

    assert.equal(await textOf(page), 'Hello bold world')
    assert.equal((await answer(page).locator('strong').textContent()) ?? '', 'bold')
    assert.match((await answer(page).locator('.facts').textContent()) ?? '', /^4 tokens · .*first after \d+ ms/)
    assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), JSON.stringify(HELLO))
  })

  test('what a model says cannot become part of the page', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    const text = `<img src=x onerror="alert(1)"><script>alert(1)</script> [x](javascript:alert(1)) <form><input></form> ok`

    await ask(page, { text, tokens: 3 })
    await ended(page)

    const shown = answer(page).locator('.markdown')
    assert.equal(await shown.locator('img, script, form, input, [onerror], a[href^="javascript:"]').count(), 0)
    assert.equal(
      await textOf(page),
      '<img src=x onerror="alert(1)"><script>alert(1)</script> x <form><input></form> ok',
    )
  })

  test('shows the text as it comes, and stops when it is told to', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)

    await ask(page, { tokens: 1_000_000, rate: 50 })
    await saying(page, 'w5')
    await page.getByRole('button', { name: 'Stop' }).click()
    await ended(page)

    assert.match((await answer(page).locator('.ending').textContent()) ?? '', /Stopped/)
    const { data } = (await (await fetch(`${url}/v1/tasks`)).json()) as { data: { status: string }[] }
    assert.deepEqual(
      data.map(({ status }) => status),
      ['canceled'],
    )
  })

  test('answers again in the place of the last answer', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, HELLO)
    await ended(page)

    await page.getByRole('button', { name: 'Answer again' }).click()
    await ended(page)

    assert.equal(await page.getByLabel('Answer', { exact: true }).count(), 1)
    assert.equal(await textOf(page), 'Hello bold world')
  })

  test('a reload in mid-answer loses nothing of it', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, SLOW)
    await saying(page, 'w10')

    await page.reload()
    await ended(page)

    assert.equal(await textOf(page), SLOW_TEXT)
    const { data } = (await (await fetch(`${url}/v1/tasks`)).json()) as { data: object[] }
    assert.equal(data.length, 1)
  })

  test('a reload before the gateway’s answer came makes one task of the question', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url)
    const page = await openPage(t, proxy.url)
    proxy.hostility = { bytes: () => 10 }
    await ask(page, SLOW)
    await until('an answer that was cut', () => proxy.count('POST /v1/tasks') > 1)

    proxy.hostility = {}
    await page.reload()
    await ended(page)

    assert.equal(await textOf(page), SLOW_TEXT)
    const { data } = (await (await fetch(`${url}/v1/tasks`)).json()) as { data: object[] }
    assert.equal(data.length, 1)
  })

  test('a second tab shows the same answer while it is made, and both have all of it', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, SLOW)
    await saying(page, 'w10')

    const tab = await secondTab(t, page)
    await saying(tab, 'w20')
    await Promise.all([ended(page), ended(tab)])

    assert.deepEqual([await textOf(page), await textOf(tab)], [SLOW_TEXT, SLOW_TEXT])
  })

  test('a question in one tab appears, with its answer, in the other', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, HELLO)
    await ended(page)
    const tab = await secondTab(t, page)

    await ask(page, SLOW)
    await saying(tab, 'w20')
    await ended(tab)

    assert.equal(await textOf(tab), SLOW_TEXT)
  })

  test('pulling the plug stops the text and not the answer; plugging it in catches up', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, SLOW)
    await saying(page, 'w10')

    await page.getByRole('switch', { name: 'Pull the plug' }).click()
    await page.getByText('You pulled the plug').waitFor()
    const before = await textOf(page)
    const [{ id } = { id: '' }] = ((await (await fetch(`${url}/v1/tasks`)).json()) as { data: { id: string }[] }).data
    const task = (await (await fetch(`${url}/v1/tasks/${id}?wait=30`)).json()) as { status: string }
    const during = await textOf(page)
    await page.getByRole('switch', { name: 'Plug it in' }).click()
    await ended(page)

    assert.equal(task.status, 'completed')
    assert.ok(during.length < SLOW_TEXT.length && during.startsWith(before), during)
    assert.equal(await textOf(page), SLOW_TEXT)
  })

  test('keeps several conversations, which can be renamed and deleted', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, { text: 'first', tokens: 1 })
    await ended(page)
    await page.getByRole('button', { name: 'New conversation' }).click()
    await ask(page, { text: 'second', tokens: 1 })
    await ended(page)
    const list = page.getByRole('navigation', { name: 'Kept conversations' })

    await list.locator('.entry-open').nth(1).click()
    const shown = await textOf(page)
    await list.locator('.entry').nth(1).hover()
    await list
      .getByRole('button', { name: /^Rename/ })
      .nth(1)
      .click()
    await page.getByLabel(/^New name of/).fill('Mine')
    await page.keyboard.press('Enter')
    await page.reload()
    const titles = await list.locator('.entry-open').allTextContents()
    await list.locator('.entry').first().hover()
    await list
      .getByRole('button', { name: /^Delete/ })
      .first()
      .click()

    assert.deepEqual([shown, titles[1], titles.length], ['first', 'Mine', 2])
    assert.deepEqual(await list.locator('.entry-open').allTextContents(), ['Mine'])
  })

  test('says where an answer waits in the queue', async (t) => {
    const { url } = await startGateway(t, { 'scripted-slots': 1 })
    const prompt = JSON.stringify({ tokens: 1_000_000, rate: 10 })
    const busy = await Promise.all(
      [1, 2].map(async () => {
        const response = await fetch(`${url}/v1/tasks`, { method: 'POST', body: JSON.stringify({ prompt }) })
        return (await response.json()) as { id: string }
      }),
    )
    const page = await openPage(t, url)

    await ask(page, HELLO)
    await answer(page).getByText('Waiting, 1 ahead of you').waitFor()
    for (const { id } of busy) await fetch(`${url}/v1/tasks/${id}`, { method: 'DELETE' })
    await ended(page)

    assert.equal(await textOf(page), 'Hello bold world')
  })

  test('settings hold for the next question, and a failure is told in words', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)

    await page.getByRole('button', { name: 'Settings' }).click()
    const dialog = page.getByRole('dialog', { name: 'Settings' })
    await dialog.getByRole('combobox').selectOption('scripted')
    await dialog.getByLabel('Maximum tokens').fill('3')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.waitFor({ state: 'hidden' })
    await ask(page, { tokens: 50 })
    await ended(page)
    const facts = (await answer(page).locator('.facts').textContent()) ?? ''
    await page.getByLabel('Message', { exact: true }).fill('no script')
    await page.getByRole('button', { name: 'Send' }).click()
    await answer(page).getByRole('alert').waitFor()

    assert.match(facts, /^3 tokens.*cut at its maximum length/)
    assert.match((await answer(page).getByRole('alert').textContent()) ?? '', /must be a JSON object/)
  })

  test('asks for a key where the gateway wants one, and works with it', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url, { key: 'sesame', openPaths: ['/', '/rejoin.js', '/assets/'] })
    const page = await openPage(t, proxy.url)

    await page.getByRole('button', { name: 'Open Settings' }).click()
    await page.getByLabel('API key').fill('sesame')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    await page.getByRole('alert').waitFor({ state: 'detached' })
    await ask(page, HELLO)
    await ended(page)

    assert.equal(await textOf(page), 'Hello bold world')
    assert.equal(proxy.count('UPGRADE /v1/ws?ticket='), 1)
  })

  for (const [what, options] of [
    ['in light colours', { colorScheme: 'light' }],
    ['in dark colours', { colorScheme: 'dark' }],
    ['on a phone', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
  ] as const) {
    test(`is accessible ${what}, empty, with an answer, unplugged and with its settings open`, async (t) => {
      const { url } = await startGateway(t)
      const page = await openPage(t, url, options)
      const found = [await seriousFindings(page)]

      await ask(page, {
        text: 'Text with `code`, a [link](https://example.com) and\n\n| a | b |\n|---|---|\n| 1 | 2 |',
        tokens: 9,
      })
      await ended(page)
      found.push(await seriousFindings(page))
      await page.getByRole('switch').click()
      found.push(await seriousFindings(page))
      await page.getByRole('switch').click()
      if (options !== undefined && 'isMobile' in options) {
        await page.getByRole('button', { name: 'Conversations' }).click()
        found.push(await seriousFindings(page))
      }
      await page.getByRole('button', { name: 'Settings' }).click()
      found.push(await seriousFindings(page))

      assert.deepEqual(found.flat(), [])
    })
  }

  test('fits a phone: nothing is wider than the screen, and conversations are a drawer', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true })
    await ask(page, { text: `${'x'.repeat(300)}\n\n\`\`\`\n${'y'.repeat(300)}\n\`\`\``, tokens: 4 })
    await ended(page)

    const width = await page.evaluate('document.documentElement.scrollWidth')
    await page.getByRole('button', { name: 'Conversations' }).tap()
    await page.getByRole('button', { name: 'New conversation' }).tap()

    assert.equal(width, 360)
    await page.getByRole('heading', { name: 'Answers that survive the connection' }).waitFor()
  })

  test('is dark where the reader wants it dark, whatever the system says', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url, { colorScheme: 'light' })
    const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor')
    const light = await ground()

    await page.getByRole('button', { name: 'Colours: auto' }).click()
    await page.getByRole('button', { name: 'Colours: light' }).click()
    const dark = await ground()
    await page.reload()

    assert.deepEqual([light, dark, await ground()], ['rgb(247, 246, 243)', 'rgb(22, 23, 26)', 'rgb(22, 23, 26)'])
  })

  test('stays at the end of a long answer, with the composer in view, unless the reader has gone up', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url, { viewport: { width: 800, height: 500 } })
    const thread = page.getByLabel('Messages', { exact: true })
    const box = `document.querySelector('.thread')`
    const fromEnd = () => page.evaluate(`${box}.scrollHeight - ${box}.scrollTop - ${box}.clientHeight`)
    const text = Array.from({ length: 60 }, (_, at) => `Paragraph ${at}.`).join('\n\n')

    await ask(page, { text, tokens: 60, rate: 30 })
    await saying(page, 'Paragraph 20.')
    const following = await fromEnd()
    await thread.hover()
    await page.mouse.wheel(0, -400)
    await until('the reader has gone up', async () => Number(await fromEnd()) > 200)
    await saying(page, 'Paragraph 50.')
    const reading = Number(await fromEnd())
    await ended(page)
    await ask(page, HELLO)
    await ended(page)

    assert.deepEqual([following, await fromEnd()], [0, 0])
    assert.ok(reading > 400, String(reading))
    assert.equal(await page.evaluate('document.scrollingElement.scrollTop'), 0)
    assert.ok(await page.getByLabel('Message', { exact: true }).isVisible())
  })

  test('skipping to the message box stays in the conversation, and Escape keeps its name', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)
    await ask(page, { text: 'first', tokens: 1 })
    await ended(page)
    const list = page.getByRole('navigation', { name: 'Kept conversations' })
    const [title] = await list.locator('.entry-open').allTextContents()

    await page.getByRole('button', { name: 'Skip to the message box' }).focus()
    await page.keyboard.press('Enter')
    const focused = await page.evaluate('document.activeElement.id')
    await list.locator('.entry').hover()
    await list.getByRole('button', { name: /^Rename/ }).click()
    await page.getByLabel(/^New name of/).fill('something else')
    await page.keyboard.press('Escape')

    assert.deepEqual([focused, await textOf(page)], ['composer', 'first'])
    assert.deepEqual(await list.locator('.entry-open').allTextContents(), [title])
  })

  test('can be used by the keyboard alone', async (t) => {
    const { url } = await startGateway(t)
    const page = await openPage(t, url)

    await page.locator('#composer:focus').waitFor()
    await page.keyboard.type(JSON.stringify(HELLO))
    await page.keyboard.press('Enter')
    await ended(page)
    const focused = await page.evaluate('document.activeElement.id')

    assert.equal(focused, 'composer')
    assert.equal(await textOf(page), 'Hello bold world')
  })
})
