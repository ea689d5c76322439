// Node 18, which Debian 12 has, makes it global only with a flag; what actions are built on expects it there.
globalThis.crypto ??= require('node:crypto').webcrypto
const { core, cache } = require('../toolkit.js')
async function run() {
  const hit = await cache.restoreCache([core.getInput('path')], core.getInput('key'), core.getMultilineInput('restore-keys'))
  core.setOutput('hit', hit || '')
  core.saveState('hit', hit || '')
}
run().catch(error => core.setFailed(error))
