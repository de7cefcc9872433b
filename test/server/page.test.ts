/** How the page's files are served. What the page does is in test/page. */
import assert from 'node:assert/strict'
import { get, type IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { startGateway } from './harness.js'

type Answer = { status: number; headers: IncomingMessage['headers']; body: Buffer }

/** As the bytes come: fetch would unpack them. */
const ask = (url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    get(url, { headers, method }, async (response) => {
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk as Buffer)
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) })
    }).on('error', reject)
  })

/** Of the page's own assets. */
async function assetsOf(url: string): Promise<string[]> {
  const html = (await ask(url)).body.toString()
  return [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path = '']) => path)
}

test('the page’s policy lets it load and connect to nothing but the gateway, and names no exception', async (t) => {
  const { url } = await startGateway(t)

  const { status, headers, body } = await ask(url)
  const policy = String(headers['content-security-policy'])

  assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=utf-8'])
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/)
  assert.match(policy, /require-trusted-types-for 'script'/)
  assert.ok(!/unsafe|https?:|\*/.test(policy), policy)
  assert.ok(!/https?:|<style|<script>|\son\w+=/i.test(body.toString()), 'nothing inline, nothing from elsewhere')
  assert.deepEqual([headers['x-content-type-options'], headers['referrer-policy']], ['nosniff', 'no-referrer'])
})

test('files with a hash in their name are kept for a year, the others are asked for anew by their tag', async (t) => {
  const { url } = await startGateway(t)
  const assets = await assetsOf(url)

  assert.ok(assets.length >= 3)
  for (const path of assets) {
    const { status, headers } = await ask(url + path)
    assert.deepEqual([status, headers['cache-control']], [200, 'public, max-age=31536000, immutable'])
  }
  for (const path of ['/', '/rejoin.js']) {
    const first = await ask(url + path)
    const again = await ask(url + path, { 'if-none-match': String(first.headers.etag) })
    const other = await ask(url + path, { 'if-none-match': '"other"' })
    assert.deepEqual(
      [first.headers['cache-control'], again.status, again.body.length, other.status],
      ['no-cache', 304, 0, 200],
    )
  }
})

test('files come compressed as the client can read them, and are the same', async (t) => {
  const { url } = await startGateway(t)
  const plain = await ask(`${url}/rejoin.js`)

  const br = await ask(`${url}/rejoin.js`, { 'accept-encoding': 'gzip, deflate, br' })
  const gzip = await ask(`${url}/rejoin.js`, { 'accept-encoding': 'gzip;q=0.5, br;q=0' })
  const none = await ask(`${url}/rejoin.js`, { 'accept-encoding': 'zstd' })

  assert.deepEqual(
    [plain, br, gzip, none].map(({ headers }) => [headers['content-encoding'], headers.vary]),
    [
      [undefined, 'Accept-Encoding'],
      ['br', 'Accept-Encoding'],
      ['gzip', 'Accept-Encoding'],
      [undefined, 'Accept-Encoding'],
    ],
  )
  assert.ok(br.body.length * 2 < plain.body.length)
  assert.deepEqual(
    [brotliDecompressSync(br.body), gunzipSync(gzip.body), none.body],
    [plain.body, plain.body, plain.body],
  )
})

test('the client’s file is whole by itself', async (t) => {
  const { url } = await startGateway(t)

  const source = (await ask(`${url}/rejoin.js`)).body.toString()

  assert.match(source, /export\s*\{[^}]*\bRejoin\b/)
  assert.ok(!/\bimport\s*[{"'*(]|\bfrom\s*["']/.test(source), 'imports')
})

test('only what was built is served', async (t) => {
  const { url } = await startGateway(t)
  const [asset = ''] = await assetsOf(url)

  for (const path of [
    '/assets/..%2f..%2fpackage.json',
    '/assets/none.js',
    '/assets/',
    '/index.html',
    '/assets/index.html',
  ]) {
    assert.deepEqual([path, (await ask(url + path)).status], [path, 404])
  }
  assert.equal((await ask(url + asset, {}, 'POST')).status, 405)
  const head = await ask(url + asset, {}, 'HEAD')
  assert.deepEqual([head.status, head.body.length], [200, 0])
})
