// Node 18, which Debian 12 has, makes it global only with a flag; what actions are built on expects it there.
globalThis.crypto ??= require('node:crypto').webcrypto
const { core, artifact } = require('../toolkit.js')
const client = new artifact.DefaultArtifactClient()
client.getArtifact(core.getInput('name', { required: true }))
  .then(found => client.downloadArtifact(found.artifact.id, { path: '.' }))
  .catch(error => core.setFailed(error))
