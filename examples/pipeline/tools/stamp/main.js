const { core } = require('../toolkit.js')
core.setOutput('line', `${core.getInput('text')}, by ${process.env.GITHUB_EVENT_NAME}`)
core.notice('stamped')
