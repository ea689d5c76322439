const { core, artifact } = require('../toolkit.js')
new artifact.DefaultArtifactClient()
  .uploadArtifact(core.getInput('name', { required: true }), core.getMultilineInput('path', { required: true }), '.')
  .catch(error => core.setFailed(error))
