// Reads workflow files as GitHub's own implementation does: one line of JSON each, {"file", "errors", "jobs"}.
// Usage: node oracle.mjs NODE_MODULES FILE…
import {readFileSync} from "node:fs";
import {register} from "node:module";
import {pathToFileURL} from "node:url";

// The package imports its schemas as a bundler does, without saying that they are JSON.
const hook = `import {readFileSync} from "node:fs";
export async function load(url, context, next) {
  if (!url.endsWith(".json")) return next(url, context);
  return {format: "module", shortCircuit: true, source: "export default " + readFileSync(new URL(url), "utf8")};
}`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

const at = name => pathToFileURL(`${process.argv[2]}/@actions/${name}`).href;
const {convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow} = await import(at("workflow-parser/dist/index.js"));
const {ErrorPolicy} = await import(at("workflow-parser/dist/model/convert.js"));
const {TemplateContext, TemplateValidationErrors} = await import(at("workflow-parser/dist/templates/template-context.js"));
const {getWorkflowSchema} = await import(at("workflow-parser/dist/workflows/workflow-schema.js"));
const {FeatureFlags} = await import(at("expressions/dist/features.js"));

const options = {errorPolicy: ErrorPolicy.TryConversion, featureFlags: new FeatureFlags({all: true})};

function step({id, name, run, uses, background, if: condition, ...rest}) {
  return {
    id,
    if: condition?.expression,
    name: name?.toDisplayString(),
    run: run && (run.isExpression ? "…" : run.toString()),
    uses: uses?.value,
    background: background || undefined,
    wait: rest.wait?.map(target => target.value),
    "wait-all": rest["wait-all"],
    cancel: rest.cancel?.value,
    parallel: rest.parallel?.map(step)
  };
}

function job({id, needs, if: condition, ref, steps}) {
  return {id: id.value, needs: (needs ?? []).map(need => need.value), if: condition?.expression, uses: ref?.value, steps: steps?.map(step)};
}

async function read(name) {
  const context = new TemplateContext(new TemplateValidationErrors(), getWorkflowSchema(), new NoOperationTraceWriter());
  context.state.featureFlags = options.featureFlags;
  const {value} = parseWorkflow({name, content: readFileSync(name, "utf8")}, context);
  const template = value === undefined ? {} : await convertWorkflowTemplate(context, value, undefined, options);
  const errors = context.errors.getErrors().map(({rawMessage, range}) => ({line: range?.start.line ?? 1, column: range?.start.column ?? 1, message: rawMessage}));
  return {file: name, errors, jobs: template.jobs?.map(job)};
}

for (const name of process.argv.slice(3)) process.stdout.write(JSON.stringify(await read(name)) + "\n");
