// Node 18, which Debian 12 has, makes it global only with a flag; what actions are built on expects it there.
globalThis.crypto ??= require('node:crypto').webcrypto
const { core, artifact } = require('../toolkit.js')
new artifact.DefaultArtifactClient()
  .uploadArtifact(core.getInput('name', { required: true }), core.getMultilineInput('path', { required: true }), '.')
  .catch(error => core.setFailed(error))
