"""What an OpenAPI description says of a request and of an answer."""
import json
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float), "integer": int}


class Schema:
    def __init__(self, document, whole=True):
        """whole: an answer has every member that is required; else what is there has the right form."""
        self.document, self.whole, self.asks_for_all = document, whole, True
        self.paths = [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))), template, methods) for template, methods in document["paths"].items()]

    def operation(self, method, path):
        """What has no parameter there goes before what has one: …/servers/action is no server."""
        found = [(template.count("{"), template, methods[method.lower()]) for pattern, template, methods in self.paths
                 if pattern.fullmatch(path) and method.lower() in methods]
        return min(found, key=lambda f: f[0])[1:] if found else (None, None)

    def resolve(self, schema):
        while "$ref" in schema:
            target = self.document
            for part in schema["$ref"].lstrip("#/").split("/"):
                target = target[part.replace("~1", "/")]
            schema = target
        return schema

    def fault(self, schema, value, where, open_enums=False):
        """None: it fits. open_enums: of answers, which may have words that are newer."""
        schema = self.resolve(schema)
        if value is None and schema.get("nullable"):
            return None
        if "anyOf" in schema or "oneOf" in schema:
            faults = [self.fault(s, value, where, open_enums) for s in schema.get("anyOf", schema.get("oneOf"))]
            return None if None in faults else faults[0]
        for part in schema.get("allOf", []):
            found = self.fault(part, value, where, open_enums)
            if found:
                return found
        kinds = schema.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds or []
        if kinds and not any(isinstance(value, TYPES[k]) and not (isinstance(value, bool) and k in ("integer", "number")) for k in kinds):
            return f"{where}: {json.dumps(value)[:60]} is not of the type {'/'.join(kinds)}"
        if "enum" in schema and value not in schema["enum"] and not open_enums:
            return f"{where}: {value!r} is none of {schema['enum']}"
        if isinstance(value, list) and "items" in schema:
            return next(filter(None, (self.fault(schema["items"], v, f"{where}/{i}", open_enums) for i, v in enumerate(value))), None)
        return self.object_fault(schema, value, where, open_enums) if isinstance(value, dict) else None

    def object_fault(self, schema, value, where, open_enums):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        missing = [n for n in schema.get("required") or [] if n not in value]
        if missing and self.asks_for_all:
            return f"{where}: {missing[0]} is missing"
        for name, member in value.items():
            inner = known.get(name, rest)
            if inner is False:
                return f"{where}/{name} is not in the schema"
            found = self.fault(inner, member, f"{where}/{name}", open_enums) if isinstance(inner, dict) else None
            if found:
                return found
        return None

    def request_fault(self, method, path, query, body, content_type):
        template, operation = self.operation(method, path)
        if operation is None:
            return f"{method} {path} is not in the schema"
        parameters = {p["name"]: p for p in map(self.resolve, operation.get("parameters", [])) if p["in"] == "query"}
        for name, text in query.items():
            if name not in parameters:
                return f"{method} {template}: the parameter {name} is not in the schema"
            kinds = str(self.resolve(parameters[name]["schema"]).get("type"))
            if "integer" in kinds and not text.isdigit():
                return f"{method} {template}: {name} is no number"
        content = operation.get("requestBody", {}).get("content", {})
        if body is None:
            return f"{method} {template}: there is no body" if operation.get("requestBody", {}).get("required") else None
        if content_type not in content:
            return f"{method} {template} takes no body of the type {content_type}"
        found = self.fault(content[content_type]["schema"], body, "")
        return found and f"{method} {template}: {found}"

    def answer_fault(self, method, path, status, body):
        template, operation = self.operation(method, path)
        answers = (operation or {}).get("responses", {})
        content = self.resolve(answers.get(str(status)) or answers.get("default") or {}).get("content", {}).get("application/json")
        if answers and status < 400 and str(status) not in answers and "default" not in answers:
            return f"{method} {template} answers no {status}"
        self.asks_for_all = self.whole
        found = self.fault(content["schema"], body, "", True) if content and status < 400 else None
        self.asks_for_all = True
        return found and f"{method} {template} answered {status}: {found}"
