/**
 * Imported into a server before its own program (`--expose-gc --import`): on SIGUSR2 it frees what nobody holds, so that its
 * memory can be compared.
 */
process.on('SIGUSR2', () => {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
})
