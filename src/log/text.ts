/**
 * The text of one task: append-only UTF-8 in one slab, addressed by byte offsets.
 *
 * A string per event would cost some 300 bytes each and long garbage collector pauses; here an event costs its
 * bytes. Offsets come from `append`, so a slice never cuts a character.
 */
/** Of a task that has not said a word. */
const NOTHING = Buffer.alloc(0)
const FIRST_BYTES = 256
/** Bytes that are copied faster one by one than by native code, which costs its call. */
const SHORT = 64

export class Text {
  #slab = NOTHING
  #end = 0

  /** Bytes of text. */
  get end(): number {
    return this.#end
  }

  /** Bytes of memory. */
  get capacity(): number {
    return this.#slab.length
  }

  /** Returns the offset at which the text now ends. A lone surrogate becomes U+FFFD. */
  append(text: string): number {
    // A UTF-16 unit takes at most 3 bytes; asking for the worst case saves counting them first.
    const worst = this.#end + text.length * 3
    if (worst > this.#slab.length) this.#resize(Math.max(worst, this.#slab.length * 2, FIRST_BYTES))
    this.#end = writeUtf8(this.#slab, text, this.#end)
    return this.#end
  }

  /** Puts the bytes from one offset to another into `target`; returns where they end there. */
  copy(from: number, to: number, target: Buffer, at: number): number {
    const slab = this.#slab
    if (to - from > SHORT) return at + slab.copy(target, at, from, to)
    for (let i = from; i < to; i++) target[at + i - from] = slab[i] as number
    return at + to - from
  }

  /** The UTF-8 of all of it, in memory of its own. */
  dump(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#slab, 0, this.#end)
  }

  static restore(utf8: Uint8Array): Text {
    const text = new Text()
    text.#resize(Math.max(utf8.length, FIRST_BYTES))
    text.#slab.set(utf8)
    text.#end = utf8.length
    return text
  }

  slice(from: number, to: number): string {
    return this.#slab.toString('utf8', from, to)
  }

  /** Gives back what was allocated ahead; the text stays appendable. */
  trim(): void {
    if (this.#slab.length > this.#end) this.#resize(this.#end)
  }

  #resize(bytes: number): void {
    // Not from Node's shared pool, of which one small slab would keep 8 KB alive.
    const slab = Buffer.allocUnsafeSlow(bytes)
    this.#slab.copy(slab, 0, 0, this.#end)
    this.#slab = slab
  }
}

/** Returns where it ends. Most tokens are short ASCII. */
function writeUtf8(target: Buffer, text: string, at: number): number {
  if (text.length > SHORT) return at + target.write(text, at, 'utf8')
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x7f) return at + target.write(text, at, 'utf8')
    target[at + i] = unit
  }
  return at + text.length
}
