/* One file of the packages that JavaScript actions are built on, as an action's own bundle has them. */
import * as core from '@actions/core'
import * as exec from '@actions/exec'
import * as http from '@actions/http-client'
import * as toolCache from '@actions/tool-cache'
import * as artifact from '@actions/artifact'
import * as cache from '@actions/cache'
import * as artifactOf2025 from 'artifact-of-2025'
import * as cacheOf2025 from 'cache-of-2025'
export { core, exec, http, toolCache, artifact, cache, artifactOf2025, cacheOf2025 }
