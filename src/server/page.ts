/**
 * The chat page at `/`: one self-contained file, read once.
 *
 * It loads nothing from elsewhere and its policy says so; script and style are inline, so the policy names their
 * hashes and no other script or style runs.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Exchange } from './request.js'

// From dist/src/server to the source, which is what the browser gets.
const FILE = new URL('../../../src/page/index.html', import.meta.url)

export class Page {
  readonly #html = readFileSync(FILE)
  readonly #headers: [string, string][]

  constructor() {
    const html = this.#html.toString()
    this.#headers = [
      ['Cache-Control', 'no-cache'],
      ['X-Content-Type-Options', 'nosniff'],
      [
        'Content-Security-Policy',
        `default-src 'none'; script-src ${hashes(html, 'script')}; style-src ${hashes(html, 'style')}; ` +
          `connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      ],
    ]
  }

  /** GET / */
  get(exchange: Exchange): void {
    exchange.send(200, 'text/html; charset=utf-8', this.#html, this.#headers)
  }
}

/** CSP Level 3, section 2.3.1: `'sha256-…'` of each inline element's text. */
function hashes(html: string, tag: 'script' | 'style'): string {
  const elements = html.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))
  return [...elements]
    .map(
      ([, text]) =>
        `'sha256-${createHash('sha256')
          .update(text ?? '')
          .digest('base64')}'`,
    )
    .join(' ')
}
