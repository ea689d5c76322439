// Node 18, which Debian 12 has, makes it global only with a flag; what actions are built on expects it there.
globalThis.crypto ??= require('node:crypto').webcrypto
const { core, cache } = require('../toolkit.js')
if (core.getState('hit') !== core.getInput('key'))
  cache.saveCache([core.getInput('path')], core.getInput('key')).catch(error => core.setFailed(error))
