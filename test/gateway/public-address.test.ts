import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPrivateHost, isPublicAddress } from '../../src/gateway/public-address.js'

const PUBLIC = [
  '8.8.8.8',
  '1.1.1.1',
  '100.63.255.255',
  '100.128.0.0',
  '172.15.0.1',
  '172.32.0.1',
  '198.17.0.1',
  '223.255.255.255',
]
const PUBLIC_6 = ['2606:4700:4700::1111', '2a00:1450::1', '2001:4860:4860::8888', '2001:200::1']
const PRIVATE = [
  ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '100.127.255.255', '127.0.0.1', '127.255.255.255', '169.254.169.254'],
  ...[
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.19.255.255',
  ],
  ...['198.51.100.1', '203.0.113.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'],
]
const PRIVATE_6 = [
  ...['::', '::1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '64:ff9b::7f00:1', '100::1', 'fc00::1', 'fd12::1', 'fe80::1'],
  ...['ff02::1', '2001::1', '2001:db8::1', '2002:7f00:1::', '3fff::1', '4000::1'],
]

test('addresses of the public internet are public', () => {
  assert.deepEqual(
    [...PUBLIC, ...PUBLIC_6].filter((address) => !isPublicAddress(address)),
    [],
  )
})

test('loopback, private, shared, documentation, multicast and reserved addresses are not, in any form', () => {
  assert.deepEqual([...PRIVATE, ...PRIVATE_6, 'example.com', ''].filter(isPublicAddress), [])
})

test('a URL whose host is such an address, however it is written, is known before anything is resolved', () => {
  const urls = [
    ...[
      'http://127.0.0.1/',
      'http://2130706433/',
      'http://0x7f.1/',
      'http://0177.0.0.1/',
      'http://127.1/',
      'http://127.0.0.1./',
    ],
    ...[
      'http://[::1]/',
      'http://[::ffff:10.0.0.1]/',
      'http://localhost:8080/',
      'http://LOCALHOST./',
      'http://a.localhost/',
    ],
  ]

  assert.deepEqual(
    urls.filter((url) => !isPrivateHost(new URL(url).hostname)),
    [],
  )
  assert.deepEqual(
    ['http://example.com/', 'http://8.8.8.8/'].filter((url) => isPrivateHost(new URL(url).hostname)),
    [],
  )
})
