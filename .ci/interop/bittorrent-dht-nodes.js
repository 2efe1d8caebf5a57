// A Mainline DHT of npm bittorrent-dht nodes on loopback.
//
//   node bittorrent-dht-nodes.js [--single-ip] [--bootstrap host:port,...] count
//
// Each node has the default settings, on an IP address of its own, 127.102.i.1,
// or with --single-ip all on 127.0.0.1. It prints "ready host:port,..." when
// every node knows others, and ends with its standard input.

import { createPublicKey, verify } from 'node:crypto'
import { once } from 'node:events'
import { parseArgs } from 'node:util'

import DHT from 'bittorrent-dht'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'single-ip': { type: 'boolean' }, bootstrap: { type: 'string', default: '' } }
})
const count = Number(positionals[0])
const known = values.bootstrap.split(',').filter(at => at)

// Mutable items need a verifier from outside; this one is Node's own.
const ed25519 = Buffer.from('302a300506032b6570032100', 'hex') // the SPKI head of a key
function verifyItem (signature, message, key) {
  if (signature.length !== 64 || key.length !== 32) return false
  const spki = createPublicKey({ key: Buffer.concat([ed25519, key]), format: 'der', type: 'spki' })
  return verify(null, message, spki, signature)
}

const nodes = []
const addresses = []
let puts = 0
let gets = 0
for (let i = 1; i <= count; i++) {
  const host = values['single-ip'] ? '127.0.0.1' : `127.102.${i}.1`
  const bootstrap = known.concat(addresses.slice(0, 1))
  // Without a list it would go to the public routers: false, then.
  const node = new DHT({ bootstrap: bootstrap.length > 0 ? bootstrap : false, verify: verifyItem })
  node.on('error', err => { console.error(err); process.exit(1) })
  node.on('put', () => puts++)
  node.on('get', () => gets++)
  node.listen(0, host)
  await once(node, 'listening')
  nodes.push(node)
  addresses.push(`${host}:${node.address().port}`)
}

const want = Math.min(4, count - 1)
const sizes = () => nodes.map(node => node.nodes.toArray().length).sort((a, b) => a - b)
const end = Date.now() + 60_000
while (sizes()[0] < want) {
  if (Date.now() > end) {
    console.error(`bittorrent-dht: know ${want} nodes each: not within 60 s`)
    process.exit(1)
  }
  await new Promise(resolve => setTimeout(resolve, 100))
}
console.error('nodes known, from the fewest to the most:', ...sizes())
console.log('ready', addresses.join())

process.stdin.resume()
await once(process.stdin, 'end')
console.log(`stats gets=${gets} puts=${puts}`)
process.exit(0)
