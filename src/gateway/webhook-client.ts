/**
 * One signed POST of a webhook, to nobody but whom it is for.
 *
 * Signed as Standard Webhooks 1.0 says (https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`. The URL is a
 * caller's, so unless it is allowed nothing is sent to an address that is not public: not to one that stands in the URL, not
 * to one that its name resolves to (the connection is made to the very address that was checked), and not after a redirect.
 */
import { createHmac } from 'node:crypto'
import { lookup as dnsLookup, type LookupAddress } from 'node:dns'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { promisify } from 'node:util'
import type { Delivery } from '../core/delivery.js'
import { isPrivateHost, isPublicAddress } from './public-address.js'

export type WebhookOptions = {
  /** `whsec_` and base64, as Standard Webhooks has it, or a text that is taken as it is. */
  secret: string
  allowPrivate: boolean
}

export type Posted =
  | { type: 'delivered' }
  /** It may succeed later; not before `retryAfterMs`, when the receiver said so. */
  | { type: 'failed'; reason: string; retryAfterMs: number | null }
  /** It never will. */
  | { type: 'refused'; reason: string }

export type Resolve = (host: string) => Promise<LookupAddress[]>

const TIMEOUT_MS = 15_000
const MAX_REDIRECTS = 3
/** Of an answer that nobody wants. */
const MAX_BODY_BYTES = 65_536
/** `lookup` takes a thread of libuv's pool of four, for as long as a name server takes; the journal's writes need one, too. */
const MAX_LOOKUPS = 2
const MIN_KEY_BYTES = 24

/** The key that a secret stands for. @throws Error when it has less than 24 bytes (Standard Webhooks: 24 to 64) */
export function signingKey(secret: string): Buffer {
  const prefix = 'whsec_'
  const key = secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), 'base64') : Buffer.from(secret)
  if (key.length >= MIN_KEY_BYTES) return key
  throw new Error(`the webhook secret must stand for ${MIN_KEY_BYTES} bytes or more, got ${key.length}`)
}

/** The three headers. `timestampS` is unix seconds. */
export function signature(key: Buffer, id: string, timestampS: number, body: string): Record<string, string> {
  const mac = createHmac('sha256', key).update(`${id}.${timestampS}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': String(timestampS), 'webhook-signature': `v1,${mac}` }
}

/** An address that nothing may be sent to. */
class NotPublic extends Error {}

export class WebhookClient {
  readonly #key: Buffer
  readonly #allowPrivate: boolean
  readonly #resolve: Resolve
  /** Of what a name resolves to. */
  readonly #isPublic: (address: string) => boolean
  readonly #closing = new AbortController()
  // One request per connection: the next one may be hours away.
  readonly #http = { request: httpRequest, agent: new HttpAgent({ keepAlive: false }) }
  readonly #https = { request: httpsRequest, agent: new HttpsAgent({ keepAlive: false }) }
  #lookups = 0
  readonly #waiting: (() => void)[] = []

  /** @throws Error when the secret is too short */
  constructor({ secret, allowPrivate }: WebhookOptions, resolve: Resolve = resolveByDns, isPublic = isPublicAddress) {
    this.#key = signingKey(secret)
    this.#allowPrivate = allowPrivate
    this.#resolve = resolve
    this.#isPublic = isPublic
  }

  /** False for a URL to which nothing would ever be posted, as far as that can be told without asking a name server. */
  mayPost(url: string): boolean {
    return this.#allowPrivate || !isPrivateHost(new URL(url).hostname)
  }

  async post({ id, url, body }: Delivery): Promise<Posted> {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'user-agent': 'Rejoin-Webhooks',
      ...signature(this.#key, id, Math.floor(Date.now() / 1000), body),
    }
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT_MS)])
    try {
      let target = new URL(url)
      for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
        const response = await this.#send(target, headers, body, signal)
        const next = redirectOf(response, target)
        if (next === null) return outcome(response)
        target = next
      }
      return { type: 'failed', reason: `more than ${MAX_REDIRECTS} redirects`, retryAfterMs: null }
    } catch (error) {
      const reason = (error as Error).message
      return error instanceof NotPublic ? { type: 'refused', reason } : { type: 'failed', reason, retryAfterMs: null }
    }
  }

  /** Ends what is under way, as if it had failed. */
  close(): void {
    this.#closing.abort(new Error('the gateway is shutting down'))
    for (const { agent } of [this.#http, this.#https]) agent.destroy()
  }

  /** Resolves with the head of the answer; the rest is read and dropped. */
  #send(
    url: URL,
    headers: Record<string, string | number>,
    body: string,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      // For an address in the URL `lookup` is not called.
      if (!this.#allowPrivate && isPrivateHost(url.hostname)) throw new NotPublic(`${url.hostname} is not public`)
      const { request, agent } = url.protocol === 'https:' ? this.#https : this.#http
      const sending = request(url, { method: 'POST', headers, signal, agent, lookup: this.#lookup })
      sending.on('error', reject)
      sending.on('response', (response) => {
        let bytes = 0
        response.on('error', () => {})
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > MAX_BODY_BYTES) response.destroy()
        })
        resolve(response)
      })
      sending.end(body)
    })
  }

  /** All addresses of a name must be public; the connection is made to one of these and no other. */
  readonly #lookup: LookupFunction = (host, options, done) => {
    this.#addressesOf(host).then(
      (addresses) => {
        const [first] = addresses
        if (options.all) done(null, addresses)
        else done(null, first?.address ?? '', first?.family)
      },
      (error: Error) => done(error, ''),
    )
  }

  async #addressesOf(host: string): Promise<LookupAddress[]> {
    if (this.#lookups >= MAX_LOOKUPS) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#lookups++
    try {
      const addresses = await this.#resolve(host)
      const wrong = this.#allowPrivate ? undefined : addresses.find(({ address }) => !this.#isPublic(address))
      if (wrong) throw new NotPublic(`${host} is ${wrong.address}, which is not public`)
      return addresses
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#lookups--
    }
  }
}

const lookupAll = promisify(dnsLookup)
const resolveByDns: Resolve = (host) => lookupAll(host, { all: true })

/** Only those that keep method and body (RFC 9110, 15.4.8 and 15.4.9); null when the answer is none. */
function redirectOf({ statusCode, headers }: IncomingMessage, from: URL): URL | null {
  if ((statusCode !== 307 && statusCode !== 308) || headers.location === undefined) return null
  const to = new URL(headers.location, from)
  if (to.protocol === 'http:' || to.protocol === 'https:') return to
  throw new NotPublic(`a redirect to ${to.protocol}`)
}

function outcome({ statusCode = 0, headers }: IncomingMessage): Posted {
  if (statusCode >= 200 && statusCode < 300) return { type: 'delivered' }
  const reason = `answered with ${statusCode}`
  // Standard Webhooks: the receiver wants no more of these.
  if (statusCode === 410) return { type: 'refused', reason }
  const seconds = Number(headers['retry-after'])
  return { type: 'failed', reason, retryAfterMs: seconds > 0 ? seconds * 1000 : null }
}
