"""Prints the published JSON Schemas of OCSF classes: schemas.py VERSION CLASS..., by their class_uid."""

import json
import sys

from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

version, *classes = sys.argv[1:]
schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
json.dump([schemas.get_class_schema(name, ["security_control"]) for name in classes], sys.stdout)
