const { core, cache } = require('../toolkit.js')
if (core.getState('hit') !== core.getInput('key'))
  cache.saveCache([core.getInput('path')], core.getInput('key')).catch(error => core.setFailed(error))
