const { core, cache } = require('../toolkit.js')
async function run() {
  const hit = await cache.restoreCache([core.getInput('path')], core.getInput('key'), core.getMultilineInput('restore-keys'))
  core.setOutput('hit', hit || '')
  core.saveState('hit', hit || '')
}
run().catch(error => core.setFailed(error))
