/**
 * The chat page and the browser's client, as the build made them: a fixed table of files, read once at the start.
 *
 * Files whose names have a hash of their content are kept by browsers for a year; the others are asked for anew each
 * time, by their tag. They are compressed when somebody first asks, by another thread. The page's policy lets it load
 * and connect to nothing but this gateway.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, gzip } from 'node:zlib'
import { RejoinError } from '../core/errors.js'
import type { Exchange } from './request.js'

// Beside dist/src.
const DIR = fileURLToPath(new URL('../../page/', import.meta.url))

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  // What a model says gets into the page through the sanitiser or not at all.
  "require-trusted-types-for 'script'",
  'trusted-types dompurify',
].join('; ')

const YEAR_S = 31_536_000

const compressors = { br: promisify(brotliCompress), gzip: promisify(gzip) } as const
type Encoding = keyof typeof compressors
/** Best first. */
const ENCODINGS: readonly Encoding[] = ['br', 'gzip']

class Asset {
  readonly type: string
  readonly etag: string
  readonly headers: [string, string][]
  readonly #bytes: Buffer
  readonly #compressed = new Map<Encoding, Promise<Buffer>>()

  constructor(path: string, bytes: Buffer) {
    this.#bytes = bytes
    this.type = TYPES[extname(path)] ?? 'application/octet-stream'
    this.etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`
    const hashed = path.startsWith('assets/')
    this.headers = [
      ['ETag', this.etag],
      ['Cache-Control', hashed ? `public, max-age=${YEAR_S}, immutable` : 'no-cache'],
      ['Vary', 'Accept-Encoding'],
      ['X-Content-Type-Options', 'nosniff'],
      ['Referrer-Policy', 'no-referrer'],
      ...(path.endsWith('.html') ? ([['Content-Security-Policy', POLICY]] as const) : []),
    ].map(([name = '', value = '']) => [name, value])
  }

  as(encoding: Encoding | null): Promise<Buffer> {
    if (encoding === null) return Promise.resolve(this.#bytes)
    const known = this.#compressed.get(encoding)
    if (known) return known
    const compressed = compressors[encoding](this.#bytes)
    this.#compressed.set(encoding, compressed)
    return compressed
  }
}

export class Page {
  readonly #assets: ReadonlyMap<string, Asset>

  /** @throws Error when the build has not made them */
  constructor() {
    this.#assets = readAssets()
  }

  /** GET / */
  index(exchange: Exchange): Promise<void> {
    return this.#send(exchange, 'index.html')
  }

  /** GET /rejoin.js */
  client(exchange: Exchange): Promise<void> {
    return this.#send(exchange, 'rejoin.js')
  }

  /** GET /assets/{name} */
  asset(exchange: Exchange, name: string): Promise<void> {
    return this.#send(exchange, `assets/${name}`)
  }

  async #send(exchange: Exchange, path: string): Promise<void> {
    const asset = this.#assets.get(path)
    if (!asset) throw new RejoinError('not_found', `no file ${JSON.stringify(path.slice(0, 100))}`)
    if (exchange.knows(asset.etag)) return exchange.empty(304, asset.headers)
    const accepted = exchange.header('accept-encoding')
    const encoding = ENCODINGS.find((each) => accepts(accepted, each)) ?? null
    const body = await asset.as(encoding)
    const headers = encoding === null ? asset.headers : [...asset.headers, ['Content-Encoding', encoding] as const]
    exchange.send(200, asset.type, body, headers)
  }
}

/** RFC 9110, section 12.5.3; a weight counts only where it is none. */
const accepts = (header: string, encoding: Encoding): boolean =>
  header.split(',').some((item) => {
    const [name = '', weight = ''] = item.split(';').map((part) => part.trim())
    return name.toLowerCase() === encoding && !/^q=0(\.0*)?$/.test(weight)
  })

function readAssets(): Map<string, Asset> {
  let names: string[]
  try {
    names = readdirSync(DIR, { recursive: true }) as string[]
  } catch {
    throw new Error('the chat page is not built: run `npm run build`')
  }
  const files = names.filter((name) => extname(name) !== '')
  return new Map(
    files.map((name) => {
      const path = name.replaceAll(sep, '/')
      return [path, new Asset(path, readFileSync(join(DIR, name)))]
    }),
  )
}
