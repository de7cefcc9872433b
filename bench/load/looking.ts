/** Every so many clients of `sse-clients.ts` look at the stamps of their tokens. */
export const LOOKING = 10
