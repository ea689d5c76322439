// Answers lines {"expr", "contexts"} on standard input as GitHub's own implementation does, in the form of `davit expr --batch`.
// Usage: node oracle.mjs DIRECTORY of the npm package @actions/expressions
import {createInterface} from "node:readline";
import {pathToFileURL} from "node:url";

const at = name => pathToFileURL(`${process.argv[2]}/dist/${name}`).href;
const {data, Evaluator, ExpressionError, Lexer, Parser} = await import(at("index.js"));
const {reviver} = await import(at("data/reviver.js"));

const NAMES = {
  [data.Kind.String]: "String",
  [data.Kind.Array]: "Array",
  [data.Kind.Dictionary]: "Object",
  [data.Kind.Boolean]: "Boolean",
  [data.Kind.Number]: "Number",
  [data.Kind.Null]: "Null"
};

function plain(value) {
  switch (value.kind) {
    case data.Kind.Null:
      return null;
    case data.Kind.Array:
      return value.values().map(plain);
    case data.Kind.Dictionary:
      return Object.fromEntries(value.pairs().map(({key, value: member}) => [key, plain(member)]));
    case data.Kind.Number:
      return Number.isFinite(value.value) ? value.value : String(value.value);
    default:
      return value.value;
  }
}

function answer(text, contexts) {
  let stage = "lexing";
  try {
    const {tokens} = new Lexer(text).lex();
    stage = "parsing";
    const tree = new Parser(tokens, Object.keys(contexts), []).parse();
    if (tree === undefined) return {kind: "Null", value: null};
    stage = "evaluation";
    const value = new Evaluator(tree, JSON.parse(JSON.stringify(contexts), reviver)).evaluate();
    return {kind: NAMES[value.kind], value: plain(value)};
  } catch (e) {
    if (stage === "parsing" && !(e instanceof ExpressionError)) throw e;
    return {error: {kind: stage, message: e.message}};
  }
}

for await (const line of createInterface({input: process.stdin, crlfDelay: Infinity})) {
  const {expr, contexts} = JSON.parse(line);
  process.stdout.write(JSON.stringify(answer(expr, contexts ?? {})) + "\n");
}
