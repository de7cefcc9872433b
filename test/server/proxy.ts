/**
 * A TCP proxy before the gateway that cuts connections after so many bytes of an answer, wherever that falls:
 * in a header, in an event, in a character.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import type { TestContext } from 'node:test'

export class CuttingProxy {
  /** Bytes of the answer that the next connection lets through. */
  bytes = Number.POSITIVE_INFINITY
  connections = 0
  cuts = 0
  readonly #server: Server

  /** Listens before the gateway at `url`; ends with the test. */
  static async start(t: TestContext, url: string): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(Number(new URL(url).port))
    t.after(() => proxy.#server.close())
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1')
      let left = this.bytes
      this.connections++
      client.on('data', (chunk) => upstream.write(chunk))
      upstream.on('data', (chunk: Buffer) => {
        if (left <= 0) return
        client.write(chunk.subarray(0, left))
        left -= chunk.length
        if (left > 0) return
        this.cuts++
        client.destroySoon()
        upstream.destroy()
      })
      client.on('close', () => upstream.destroy())
      upstream.on('close', () => client.destroySoon())
      // A reset is a cut like any other; `close` follows.
      client.on('error', () => {})
      upstream.on('error', () => {})
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }
}
