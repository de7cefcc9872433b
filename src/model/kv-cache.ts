/**
 * The keys and values of the rows of one batch, in buffers that are allocated once.
 *
 * Each tensor of the graph (`0.key`, `0.value`, `1.key` …) has one buffer for `slots` rows of `capacity` positions.
 * The rows that decode stand packed at its front as [rows, heads, bucket, head size], just as the graph wants to be
 * fed, so a step copies nothing: it reads the buffers and gives back one new position a row. The bucket is a
 * multiple of `granularity` that holds the longest row, and 0 where there is none, so that a lone row of granularity 1
 * is never padded; when it changes, and when a row leaves, rows are moved.
 * A long prompt that is computed in pieces has the place of the last slot meanwhile (the tail), at a bucket of its
 * own; it counts as one of the rows, so front and tail never meet.
 *
 * What is beyond a row's length is left over from others: the graph must mask it.
 */
export type KvShape = {
  /** Keys and values of every layer. */
  tensors: number
  /** Of keys and values: fewer than of queries where those are grouped. */
  heads: number
  headSize: number
}

export type KvOptions = { shape: KvShape; slots: number; contextTokens: number; granularity: number }

/** Rows side by side in every buffer: [rows, heads, bucket, headSize], from `offset` (in floats). */
export type Span = {
  readonly offset: number
  /** Index of the first of them. */
  readonly first: number
  readonly rows: number
  readonly bucket: number
  /** Positions that each row has; shared with the cache, so what is appended through one span is seen by all. */
  readonly lengths: Int32Array
}

/** Positions by which a bucket grows: small ones are less to read, large ones are changed less often. */
export const BUCKET_TOKENS = 64

/** Bytes that `slots` rows take. */
export const kvBytes = ({ shape, slots, contextTokens, granularity }: KvOptions): number =>
  slots * roundUp(contextTokens, granularity) * bytesPerToken(shape)

/** Of one position of one row. */
export const bytesPerToken = ({ tensors, heads, headSize }: KvShape): number =>
  tensors * heads * headSize * Float32Array.BYTES_PER_ELEMENT

export class KvCache {
  readonly shape: KvShape
  readonly slots: number
  /** One per tensor. */
  readonly buffers: readonly Float32Array[]
  readonly #granularity: number
  readonly #capacity: number
  readonly #lengths: Int32Array
  #front: Span
  #tail: Span | null = null

  constructor({ shape, slots, contextTokens, granularity }: KvOptions) {
    this.shape = shape
    this.slots = slots
    this.#granularity = granularity
    this.#capacity = roundUp(contextTokens, granularity)
    const floats = slots * shape.heads * shape.headSize * this.#capacity
    this.buffers = Array.from({ length: shape.tensors }, () => new Float32Array(floats))
    this.#lengths = new Int32Array(slots)
    this.#front = this.#span(0, 0, 0)
  }

  /** The rows that decode, 0 … rows - 1. */
  get front(): Span {
    return this.#front
  }

  /** The row whose prompt is computed in pieces. */
  get tail(): Span | null {
    return this.#tail
  }

  /** One row of the front, until the front changes. */
  row(index: number): Span {
    return this.#span(index, 1, this.#front.bucket)
  }

  /**
   * A new row at the end of the front, empty, with room for `tokens` positions.
   * @returns its index
   * @throws Error when all rows are in use
   */
  add(tokens: number): number {
    const { rows } = this.#front
    if (rows + (this.#tail ? 1 : 0) >= this.slots) throw new Error(`all ${this.slots} rows are in use`)
    this.#growFront(tokens)
    this.#lengths[rows] = 0
    this.#front = this.#span(0, rows + 1, this.#front.bucket)
    return rows
  }

  /** Removes a row of the front; the last one takes its index. */
  remove(index: number): void {
    const last = this.#front.rows - 1
    if (index < last) this.#moveLast(index)
    this.#front = this.#span(0, last, this.#front.bucket)
    // A spare step of the bucket: a row that leaves is often followed by one that is about as long.
    const wanted = last === 0 ? 0 : Math.max(...this.#front.lengths) + this.#granularity
    const bucket = this.#bucketFor(Math.min(this.#capacity, wanted))
    if (bucket < this.#front.bucket) this.#front = this.#relayout(this.#front, bucket)
  }

  /**
   * Zeroes a row of the front, and the place of the tail where it came from. What is left over from others is masked,
   * which makes nothing of any number but NaN and Infinity: for a row that had those, before it is removed.
   */
  scrub(index: number): void {
    const { offset, bucket } = this.row(index)
    const row = this.#rowFloats(bucket)
    const tail = Math.max((this.slots - 1) * this.#rowFloats(this.#capacity), this.#front.rows * row)
    for (const buffer of this.buffers) {
      buffer.fill(0, offset, offset + row)
      if (!this.#tail) buffer.fill(0, tail)
    }
  }

  /** Opens the tail, empty, with room for `tokens` positions. */
  openTail(tokens: number): void {
    if (this.#tail || this.#front.rows === this.slots) throw new Error('the place of the last slot is in use')
    const last = this.slots - 1
    const offset = last * this.#rowFloats(this.#capacity)
    this.#tail = { ...this.#span(last, 1, this.#bucketFor(tokens)), offset }
    this.#lengths[last] = 0
  }

  closeTail(): void {
    this.#tail = null
  }

  /** The tail becomes the last row of the front. Returns its index. */
  joinTail(): number {
    const tail = this.#tail
    if (!tail) throw new Error('there is no tail')
    const length = tail.lengths[0] as number
    // Through a copy: where the front has all other slots, the two places overlap.
    const { tensors, heads, headSize } = this.shape
    const block = new Float32Array(tensors * heads * length * headSize)
    this.read(tail, 0, length, block)
    this.#tail = null
    const index = this.add(length)
    this.write(this.row(index), length, block)
    return index
  }

  /**
   * Adds the newest `count` positions of every row of a span: the front, one row of it, or the tail.
   * @param step [rows, tensors x heads, count, headSize], as the graph gives it
   * @throws Error when a row would be longer than a row can be; nothing is added then
   */
  append(span: Span, step: Float32Array, count: number): void {
    const to = this.#roomFor(span, Math.max(...span.lengths) + count)
    const { tensors, heads, headSize } = this.shape
    const run = count * headSize
    let from = 0
    for (let row = 0; row < to.rows; row++) {
      const length = to.lengths[row] as number
      for (let tensor = 0; tensor < tensors; tensor++) {
        const buffer = this.#buffer(tensor)
        for (let head = 0; head < heads; head++, from += run) {
          copy(step, from, buffer, to.offset + ((row * heads + head) * to.bucket + length) * headSize, run)
        }
      }
      to.lengths[row] = length + count
    }
  }

  /** Copies positions `from` … `from + count - 1` of a one-row span to `block`: [tensors, heads, count, headSize]. */
  read(span: Span, from: number, count: number, block: Float32Array): void {
    this.#eachRun(span, from, count, (buffer, at, blockAt, run) => copy(buffer, at, block, blockAt, run))
  }

  /**
   * Adds `count` positions that were read before to a one-row span.
   * @throws Error when the row would be longer than a row can be; nothing is added then
   */
  write(span: Span, count: number, block: Float32Array): void {
    const length = span.lengths[0] as number
    const to = this.#roomFor(span, length + count)
    this.#eachRun(to, length, count, (buffer, at, blockAt, run) => copy(block, blockAt, buffer, at, run))
    to.lengths[0] = length + count
  }

  #eachRun(
    { offset, bucket }: Span,
    from: number,
    count: number,
    visit: (buffer: Float32Array, at: number, blockAt: number, run: number) => void,
  ): void {
    const { heads, headSize } = this.shape
    const run = count * headSize
    let blockAt = 0
    for (const buffer of this.buffers) {
      for (let head = 0; head < heads; head++, blockAt += run) {
        visit(buffer, offset + (head * bucket + from) * headSize, blockAt, run)
      }
    }
  }

  /** The same rows, after their bucket has grown as far as they need. */
  #roomFor(span: Span, tokens: number): Span {
    if (tokens <= span.bucket) return span
    if (span === this.#tail) {
      this.#tail = this.#relayout(span, this.#bucketFor(tokens))
      return this.#tail
    }
    this.#growFront(tokens)
    return this.#span(span.first, span.rows, this.#front.bucket)
  }

  #growFront(tokens: number): void {
    const bucket = this.#bucketFor(tokens)
    if (bucket > this.#front.bucket) this.#front = this.#relayout(this.#front, bucket)
  }

  #moveLast(to: number): void {
    const { rows, bucket, lengths } = this.#front
    const { heads, headSize } = this.shape
    const length = lengths[rows - 1] as number
    const stride = bucket * headSize
    for (const buffer of this.buffers) {
      for (let head = 0; head < heads; head++) {
        const from = ((rows - 1) * heads + head) * stride
        buffer.copyWithin((to * heads + head) * stride, from, from + length * headSize)
      }
    }
    lengths[to] = length
  }

  /** Growing, every run moves up, so the last goes first; shrinking, the first. */
  #relayout(span: Span, bucket: number): Span {
    const { heads, headSize } = this.shape
    const runs = span.rows * heads
    const grows = bucket > span.bucket
    for (const buffer of this.buffers) {
      for (let i = 0; i < runs; i++) {
        const run = grows ? runs - 1 - i : i
        const length = span.lengths[Math.floor(run / heads)] as number
        const from = span.offset + run * span.bucket * headSize
        buffer.copyWithin(span.offset + run * bucket * headSize, from, from + length * headSize)
      }
    }
    return { ...span, bucket }
  }

  /** Rows of the front. */
  #span(first: number, rows: number, bucket: number): Span {
    const lengths = this.#lengths.subarray(first, first + rows)
    return { offset: first * this.#rowFloats(bucket), first, rows, bucket, lengths }
  }

  #bucketFor(tokens: number): number {
    if (tokens <= this.#capacity) return roundUp(tokens, this.#granularity)
    throw new Error(`a row has room for ${this.#capacity} positions, not for ${tokens}`)
  }

  #rowFloats(bucket: number): number {
    return this.shape.heads * bucket * this.shape.headSize
  }

  #buffer(tensor: number): Float32Array {
    return this.buffers[tensor] as Float32Array
  }
}

const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step

/** Most runs are one head of one position, where a loop beats `set` with its two views. */
const copy = (from: Float32Array, fromAt: number, to: Float32Array, toAt: number, count: number): void => {
  if (count > 256) to.set(from.subarray(fromAt, fromAt + count), toAt)
  else for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + i] as number
}
