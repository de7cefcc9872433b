/**
 * The browser's part of the build: the chat page, and the client as one file, `rejoin.js`, which the page uses itself.
 */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: file('src/page'),
  // The client's compiled files stand for the types of the rest.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: file('dist/page'),
    emptyOutDir: true,
    target: 'es2022',
    // Every asset is a file, so that the page's policy needs no exception.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: file('src/page/index.html'), rejoin: file('src/client/index.ts') },
      // The client stays one file, which the page imports from.
      preserveEntrySignatures: 'allow-extension',
      output: {
        entryFileNames: ({ name }) => (name === 'rejoin' ? 'rejoin.js' : 'assets/[name]-[hash].js'),
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
      },
    },
  },
})
