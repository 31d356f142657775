"""What scripts/openapi-3.0 makes of each thing that versions 3.1 and 3.0 say in different ways."""

import importlib.machinery
import importlib.util
import pathlib
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "scripts" / "openapi-3.0"
loader = importlib.machinery.SourceFileLoader("openapi_3_0", str(SCRIPT))
down = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(down)

THING = "#/components/schemas/Thing"


def document(schemas=None, paths=None, version="3.1.0"):
    license_ = {"name": "MIT", "identifier": "MIT"}
    info = {"title": "t", "version": "1", "license": license_}
    return {"openapi": version, "info": info, "paths": paths or {}, "components": {"schemas": schemas or {}}}


class Schemas(unittest.TestCase):
    def test_what_both_versions_say_alike_stays(self):
        same = {
            "type": "object",
            "required": ["a"],
            "additionalProperties": False,
            "properties": {"a": {"type": "string", "maxLength": 3, "pattern": "^a"}, "b": {"type": "integer"}},
        }
        self.assertEqual(down.schema(same), same)

    def test_null_becomes_nullable(self):
        self.assertEqual(down.schema({"type": ["string", "null"]}), {"type": "string", "nullable": True})
        choice = {"oneOf": [{"type": "integer"}, {"type": "boolean"}, {"type": "null"}]}
        made = {"oneOf": [{"type": "integer"}, {"type": "boolean"}], "nullable": True}
        self.assertEqual(down.schema(choice), made)

    def test_a_reference_that_may_be_null_gets_the_type_of_what_it_leads_to(self):
        field = {"oneOf": [{"$ref": THING, "description": "d"}, {"type": "null"}]}
        outer = {"type": "object", "properties": {"field": field}}
        made = down.document(document({"Thing": {"type": "string", "enum": ["a"]}, "Outer": outer}))
        field = made["components"]["schemas"]["Outer"]["properties"]["field"]
        self.assertEqual(field, {"allOf": [{"$ref": THING}], "nullable": True, "type": "string"})

    def test_nothing_stands_beside_a_reference(self):
        given = {"$ref": THING, "description": "d"}
        self.assertEqual(down.schema(given), {"allOf": [{"$ref": THING}], "description": "d"})
        self.assertEqual(down.schema({"$ref": THING}), {"$ref": THING})

    def test_constants_examples_and_exclusive_bounds_have_older_words(self):
        given = {"const": "a", "examples": ["a", "b"]}
        self.assertEqual(down.schema(given), {"enum": ["a"], "example": "a"})
        given = {"type": "integer", "exclusiveMinimum": 0}
        self.assertEqual(down.schema(given), {"type": "integer", "minimum": 0, "exclusiveMinimum": True})

    def test_a_format_bounds_its_length(self):
        given = {"type": "string", "format": "uuid", "minLength": 36, "maxLength": 36}
        self.assertEqual(down.schema(given), {"type": "string", "format": "uuid"})
        self.assertEqual(down.schema({"type": "string", "maxLength": 64 * 1024 * 1024}), {"type": "string"})

    def test_what_is_not_known_stops_it(self):
        for given in ({"if": {}}, {"type": ["string", "integer"]}, {"items": {"prefixItems": []}}, False):
            with self.assertRaises(down.Unknown, msg=str(given)):
                down.schema(given)


class Documents(unittest.TestCase):
    def test_only_version_3_1_is_taken(self):
        self.assertEqual(down.document(document())["openapi"], "3.0.3")
        with self.assertRaises(down.Unknown):
            down.document(document(version="3.0.3"))

    def test_what_3_0_lacks_in_the_head_is_left_out(self):
        self.assertEqual(down.document(document())["info"]["license"], {"name": "MIT"})

    def test_schemas_and_problems_of_operations_are_converted(self):
        content = {"application/problem+json": {"schema": {"type": ["string", "null"]}}}
        paths = {"/a": {"get": {"responses": {"400": {"description": "d", "content": content}}}}}
        made = down.document(document(paths=paths))["paths"]["/a"]["get"]["responses"]["400"]["content"]
        self.assertEqual(made, {"application/json": {"schema": {"type": "string", "nullable": True}}})


if __name__ == "__main__":
    unittest.main()
